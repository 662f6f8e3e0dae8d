"""Executed notebooks for readers: one HTML file that opens offline, and the form that is committed."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srcid.files import make_folder, whole_file
from srcid.page import DRAW, PLAY, clean, figure_data, place, policy
from srcid.problems import ProblemsError
from srcid.runs.front import front
from srcid.values import shorten

PLOTLY = "application/vnd.plotly.v1+json"
LARGEST = 1_000_000  # bytes of a committed notebook
_VIEWS = "application/vnd.jupyter.widget-view+json"
_VOLATILE = ("papermill", "execution", "widgets", "ExecuteTime", "collapsed")
_KEPT = ("text/html", "text/markdown", "text/latex", "text/plain", "image/svg+xml", "image/png", "image/jpeg")

_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head -%}
{{ resources.policy }}
{{ super() }}
{%- endblock -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block notebook_css -%}
{{ super() }}
{% set dark = '<style media="(prefers-color-scheme: dark)"' %}
{{ resources.include_css("static/theme-dark.css") | replace('<style', dark, 1) }}
{%- endblock -%}
{%- block html_head_css -%}
<style>
  :root { color-scheme: light dark; }
  body.jp-Notebook { max-width: 1120px; margin: 0 auto; padding: 1.5rem 2rem 4rem; overflow: auto;
    font: 15px/1.55 var(--jp-content-font-family, sans-serif);
    background: var(--jp-layout-color0); color: var(--jp-content-font-color1); }
  html { background: var(--jp-layout-color0); }
  body .jp-InputPrompt, body .jp-OutputPrompt { display: none; }
  body .jp-Cell { padding: 2px 0; }
  body .jp-RenderedHTMLCommon { max-width: 100%; font-size: 15px; }
  body .jp-RenderedMarkdown p, body .jp-RenderedMarkdown li { max-width: 78ch; }
  body .jp-OutputArea-child { display: block; }
  /* what a notebook shows stays in its place, whatever it says of its own */
  body .jp-OutputArea-child .jp-OutputArea-output { display: block; box-sizing: border-box;
    width: 100%; max-width: 100%; contain: layout paint; }
  body .jp-RenderedMarkdown { contain: layout paint; }
  body .jp-RenderedText pre { white-space: pre-wrap; font-size: 13px; }
  body .jp-RenderedImage img, body .jp-RenderedSVG img { background: white; max-width: 100%; }
  body .jp-CodeCell .jp-Cell-inputWrapper { display: none; }
  body.with-code .jp-CodeCell .jp-Cell-inputWrapper { display: flex; }
  #report-head { display: flex; align-items: baseline; justify-content: space-between; gap: 1rem; }
  #report-head h1 { margin-bottom: 0; }
  #report-head button { font: inherit; padding: .25rem .8rem; cursor: pointer; }
  #report-date { margin: .2rem 0 1rem; color: var(--jp-content-font-color2); }
  #report-verdict { font-size: 17px; line-height: 1.5; max-width: 78ch; margin: 0 0 1.2rem;
    padding: .1rem 0 .1rem 1rem; border-left: 4px solid var(--jp-content-link-color, #1565c0); }
  #report-verdict p { margin: .5rem 0; }
  #report-runs { border-collapse: collapse; font-size: 13px; margin: 0 0 1.2rem; }
  #report-runs th, #report-runs td { text-align: left; padding: .15rem 1.4rem .15rem 0; vertical-align: top; }
  #report-contents { border: 1px solid var(--jp-border-color2); border-radius: 4px;
    padding: .6rem 1.2rem; margin: 0 0 1.5rem; }
  #report-contents ol { margin: .2rem 0 .4rem; padding-left: 1.2rem; list-style: none; }
  #report-contents a { color: var(--jp-content-link-color, #1565c0); text-decoration: none; }
</style>
{{ resources.figure_style }}
{%- endblock -%}
{%- block body_header -%}
{{ super() }}
{{ resources.front }}
{%- endblock -%}
{%- block footer_js -%}
{{ resources.scripts }}
{%- endblock -%}
"""
_FOLD = """
document.getElementById('report-code').addEventListener('click', () => document.body.classList.toggle('with-code'));
"""


class ReportError(ProblemsError):
    """Notebooks that are missing or cannot be read."""


class FreezeError(ValueError):
    """A notebook that cannot be committed as it is."""


def html_report(notebooks: Sequence[str | Path], path: str | Path, title: str = "SRCID") -> Path:
    """Write executed notebooks, one after the other, as one HTML file that asks nothing of the network.

    At the top stand the title, the date, the runs, and what they found in three sentences. plotly figures stay
    interactive (plotly.js is embedded once, if needed), audio players stay players, code is folded away behind a
    button, and headings make the table of contents. The page follows the reader's choice of a light or a dark theme.

    Nothing that a notebook holds is run: what would is dropped, and the page allows this package's scripts only.

    Args:
        notebooks: executed notebooks; what the run folders say in which they lie is told at the top.
        path: the file to write; its folder is made.
        title: of the page.

    Returns:
        ``path``.

    Raises:
        ReportError: notebooks that are missing or damaged, all of them; nothing has been written then.
        DiskError: ``path`` cannot be written.
    """
    import plotly.offline
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter
    from nbformat.v4 import new_notebook

    from srcid.style import CONFIG, PAGE_STYLE

    contents: list[tuple[int, str, str]] = []
    figures: dict[str, Any] = {}
    books = _read(notebooks)
    cells = [_cell(cell, contents, figures) for book in books for cell in book.cells]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    quiet = logging.getLogger("srcid.runs.report")  # nbconvert warns of each picture without a description
    quiet.setLevel(logging.ERROR)
    exporter = HTMLExporter(
        log=quiet,
        extra_loaders=[DictLoader({"report.html.j2": _TEMPLATE})],
        template_file="report.html.j2",
        sanitize_html=True,
    )
    exporter.register_filter("clean_html", clean)
    scripts = [*([plotly.offline.get_plotlyjs(), DRAW] if figures else []), _FOLD + PLAY]
    resources = {
        "metadata": {"name": title},
        "policy": policy(scripts),
        "figure_style": PAGE_STYLE,
        "front": front(title, [Path(notebook) for notebook in notebooks]) + _contents(contents),
        "scripts": figure_data(figures, CONFIG) + "".join(f"<script>{script}</script>" for script in scripts),
    }
    body, _ = exporter.from_notebook_node(new_notebook(cells=cells), resources=resources)
    path = Path(path)
    make_folder(path.parent)
    with whole_file(path) as draft:
        draft.write_text(body, encoding="utf-8")
    return path


def _read(notebooks: Sequence[str | Path]) -> list[Any]:
    """Return notebooks as nbformat has them."""
    import nbformat

    found, problems = [], []
    for path in notebooks:
        try:
            found.append(nbformat.read(path, as_version=4))
        except OSError as error:
            problems.append(f"found no notebook {path} ({error.strerror})")
        except Exception as error:  # whatever the reader stumbles upon: no JSON, no UTF-8, JSON of something else
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
            problems.append(f"{path} is no notebook, or a damaged one ({reason})")
    if problems:
        raise ReportError("notebooks cannot be read:", problems)
    return found


def _anchored(markdown: str, contents: list[tuple[int, str, str]]) -> str:
    """Put an anchor before each heading, outside code fences, and note it in ``contents``."""
    lines, fenced = [], False
    for line in markdown.splitlines():
        fenced ^= line.lstrip().startswith("```")
        found = None if fenced else re.match(r"(#{1,3})\s+(.+?)\s*#*$", line)
        if found:
            anchor = f"part-{len(contents) + 1}"
            contents.append((len(found[1]), re.sub(r"[`*_]", "", found[2]), anchor))
            lines += [f'<a id="{anchor}"></a>', ""]
        lines.append(line)
    return "\n".join(lines)


def _cell(cell: Any, contents: list[tuple[int, str, str]], figures: dict[str, Any]) -> Any:
    """A cell with what a page shows of it and nothing else; headings and figures are noted."""
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

    source = str(cell.get("source", ""))
    if cell.cell_type == "markdown":
        attached = cell.get("attachments", {})
        return new_markdown_cell(_anchored(source, contents), attachments=attached if attached else {})
    if cell.cell_type != "code":
        return new_raw_cell()
    outputs = [shown for output in cell.get("outputs", []) for shown in _shown(output, figures)]
    return new_code_cell(source, outputs=outputs)


def _shown(output: Any, figures: dict[str, Any]) -> Iterator[Any]:
    """What a page shows of an output; a plotly figure is noted, and its place remains."""
    from nbformat.v4 import new_output

    kind = output.get("output_type")
    if kind == "stream":
        yield new_output("stream", name="stdout", text=str(output.get("text", "")))
    elif kind == "error":
        lines = [line for line in output.get("traceback", []) if isinstance(line, str)]
        yield new_output("error", ename="", evalue="", traceback=lines)
    elif isinstance(data := output.get("data", {}), Mapping):
        kept = {name: data[name] for name in _KEPT if isinstance(data.get(name), str)}
        if PLOTLY in data:
            name = f"figure-{len(figures) + 1}"
            figures[name] = data[PLOTLY]
            kept = {"text/html": place(name)}
        elif _VIEWS in data and set(kept) <= {"text/plain"}:
            kept = {"text/plain": "(interactive view: open the notebook in JupyterLab)"}
        if kept:
            yield new_output("display_data", data=kept)


def _contents(contents: Sequence[tuple[int, str, str]]) -> str:
    entries = "".join(
        f'<li style="margin-left:{level - 1}.2em"><a href="#{anchor}">{html.escape(text)}</a></li>'
        for level, text, anchor in contents
        if level <= 2
    )
    return f'<nav id="report-contents"><ol>{entries}</ol></nav>'


def freeze(executed: str | Path, target: str | Path) -> int:
    """Write an executed notebook as it is committed, with its ``.py`` twin; return its size in bytes.

    Text, tables, players and static pictures stay; plotly figures become PNG. Widget state, views, timing and
    other metadata that change from run to run go, and so does what papermill injected.

    Raises:
        ReportError: ``executed`` is missing or damaged.
        FreezeError: an output is an error, the file would exceed 1 MB, or no PNG can be made.
    """
    import nbformat
    from jupytext.cli import jupytext

    [notebook], target = _read([executed]), Path(target)
    tags = [set(cell.metadata.get("tags", [])) for cell in notebook.cells]
    injected = {"injected-parameters", "papermill-error-cell-tag"}
    notebook.cells = [cell for cell, own in zip(notebook.cells, tags, strict=True) if not own & injected]
    for cell in notebook.cells:
        for part in [cell.metadata, notebook.metadata]:
            for key in _VOLATILE:
                part.pop(key, None)
        if cell.cell_type == "code":
            if any(output.output_type == "error" for output in cell.outputs):
                raise FreezeError(f"{executed} ends in an error; only a clean run can be committed")
            cell.outputs = _joined([output for output in map(_still, cell.outputs) if output is not None])
    notebook.metadata = nbformat.from_dict(
        {key: notebook.metadata[key] for key in ("jupytext", "kernelspec") if key in notebook.metadata}
        | {"language_info": {"name": "python"}}
    )
    content = nbformat.writes(notebook) + "\n"
    size = len(content.encode())
    if size >= LARGEST:
        heavy = max(notebook.cells, key=lambda cell: len(json.dumps(cell.get("outputs", []))))
        line = heavy.source.strip().splitlines()[0]
        raise FreezeError(
            f"{target.name} would have {size / 1e6:.1f} MB, need less than {LARGEST / 1e6:.0f}; "
            f"most of it comes from the cell that begins '{line}'"
        )
    target.write_text(content, encoding="utf-8")
    jupytext(["--quiet", "--to", "py:percent", "--output", str(target.with_suffix(".py")), str(target)])
    return size


def _still(output: Any) -> Any:
    """One output without what moves: plotly as PNG, no widgets; ``None`` if nothing is left."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    data = output.get("data", {})
    figure = data.pop(PLOTLY, None)
    if data.pop(_VIEWS, None) is not None:
        return None
    if figure is not None:
        data.clear()
        data["image/png"] = base64.b64encode(_png(figure)).decode()
    output.metadata = {}
    return output if data else None


def _joined(outputs: list[Any]) -> list[Any]:
    """Join printed text that arrived in pieces: the pieces depend on timing."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def draw(figure: Any, path: str | Path) -> Path:
    """Write a plotly figure to ``path``: ``.html`` (readable offline), or a picture on white (``.png``, ``.svg``, ...).

    Raises:
        ReportError: no such kind of file, or kaleido or Chromium is missing.
        DiskError: it cannot be written.
    """
    from srcid.style import picture, write_page

    path = Path(path)
    if path.suffix not in (".html", ".png", ".svg", ".pdf", ".webp", ".jpg"):
        raise ReportError(f"found a file named {shorten(path.name)}; need one ending in .png, .svg, .pdf or .html")
    make_folder(path.parent)
    with whole_file(path) as draft:
        if path.suffix == ".html":
            write_page(figure, draft)
        else:
            draft.write_bytes(_image(picture(figure), path.suffix.removeprefix("."), ReportError, scale=2))
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
        ReportError: a part that is none of these, or no picture could be made.
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
            raise ReportError(f"found a {type(part).__name__} on {path.name}; need text, a table or (name, figure)")
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


def _png(figure: dict[str, Any]) -> bytes:
    """A PNG with a palette of 256 colours, a quarter of the size: a notebook has room for more figures."""
    import plotly.graph_objects as go
    from PIL import Image

    from srcid.style import picture

    drawing = go.Figure(data=figure["data"], layout=figure.get("layout", {}), skip_invalid=True)
    small = io.BytesIO()
    image = Image.open(io.BytesIO(_image(picture(drawing), "png", FreezeError)))
    # dithering would put a grain on even areas
    image = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    image.save(small, "PNG", optimize=True)
    return small.getvalue()


def _image(figure: Any, kind: str, failure: type[ValueError], scale: float = 1) -> bytes:
    try:
        import kaleido  # noqa: F401
    except ImportError:
        raise failure("pictures need kaleido; run: ./lab install browser") from None
    width, height = figure.layout.width or 900, figure.layout.height or 450
    try:
        return figure.to_image(kind, width=width, height=height, scale=scale)
    except Exception as error:
        raise failure(f"no picture could be made ({error}); it needs Chromium on this machine") from error
