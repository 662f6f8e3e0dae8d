"""Figures and tables as files: pictures, and pages of markdown with pictures beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srcid.files import make_folder, whole_file
from srcid.problems import ProblemsError
from srcid.values import shorten


class PictureError(ProblemsError):
    """What cannot be drawn or written down."""


def draw(figure: Any, path: str | Path) -> Path:
    """Write a plotly figure to ``path``: ``.html`` (readable offline), or a picture on white (``.png``, ``.svg``, ...).

    Raises:
        PictureError: no such kind of file, or kaleido or Chromium is missing.
        DiskError: it cannot be written.
    """
    from srcid.style import picture, write_page

    path = Path(path)
    if path.suffix not in (".html", ".png", ".svg", ".pdf", ".webp", ".jpg"):
        raise PictureError(f"found a file named {shorten(path.name)}; need one ending in .png, .svg, .pdf or .html")
    make_folder(path.parent)
    with whole_file(path) as draft:
        if path.suffix == ".html":
            write_page(figure, draft)
        else:
            draft.write_bytes(render(picture(figure), path.suffix.removeprefix("."), scale=2))
    return path


def markdown_page(path: str | Path, parts: Sequence[Any], notes: str = "") -> list[Path]:
    """Write text, tables and figures, one below the other, as a markdown page with its pictures beside it.

    Args:
        path: the file to write, ``docs/results/quantizers.md``; pictures are called ``quantizers-<name>.png``.
        parts: strings (markdown), DataFrames (their index is the first column), and (name, figure) pairs, in which the
            figure's title becomes the description of the picture.
        notes: a last paragraph.

    Returns:
        All files written, the page first.

    Raises:
        PictureError: a part that is none of these, or no picture could be made.
    """
    path = Path(path)
    blocks, pictures = [], []
    for part in [*parts, notes] if notes else parts:
        if isinstance(part, str):
            blocks.append(part.strip())
        elif hasattr(part, "columns"):
            blocks.append(_markdown_table(part))
        elif isinstance(part, tuple) and len(part) == 2 and hasattr(part[1], "to_image"):
            pictures.append(draw(part[1], path.with_name(f"{path.stem}-{part[0]}.png")))
            words = re.sub(r"<[^>]+>", " ", part[1].layout.title.text or part[0])
            blocks.append(f"![{words}]({pictures[-1].name})")
        else:
            raise PictureError(f"found a {type(part).__name__} on {path.name}; need text, a table or (name, figure)")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return [path, *pictures]


def _markdown_table(frame: Any) -> str:
    def word(cell: Any) -> str:
        return (" ".join(filter(None, map(str, cell))) if isinstance(cell, tuple) else str(cell)).replace("|", "/")

    def row(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(map(word, cells)) + " |"

    lines = [row([frame.index.name or "", *frame.columns]), "|---" * (len(frame.columns) + 1) + "|"]
    body = frame.astype(object).where(frame.notna(), "")
    return "\n".join([*lines, *(row([index, *cells]) for index, *cells in body.itertuples(name=None))])


def render(figure: Any, kind: str, scale: float = 1) -> bytes:
    """Return a plotly figure as a picture, ``png`` or another ``kind`` that kaleido knows.

    Raises:
        PictureError: kaleido or Chromium is missing.
    """
    try:
        import kaleido  # noqa: F401
    except ImportError:
        raise PictureError("pictures need kaleido; run: ./lab install browser") from None
    width, height = figure.layout.width or 900, figure.layout.height or 450
    try:
        return figure.to_image(kind, width=width, height=height, scale=scale)
    except Exception as error:
        raise PictureError(f"no picture could be made ({error}); it needs Chromium on this machine") from error
