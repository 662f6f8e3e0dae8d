"""Executed notebooks for readers: one HTML file that opens offline, and the form that is committed."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srcid.files import whole_file
from srcid.problems import ProblemsError

PLOTLY = "application/vnd.plotly.v1+json"
LARGEST = 1_000_000  # bytes of a committed notebook
_VIEWS = "application/vnd.jupyter.widget-view+json"
_VOLATILE = ("papermill", "execution", "widgets", "ExecuteTime", "collapsed")
_BUNDLE = '<script type="text/javascript" id="plotly-js">%s</script>'
_CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}

_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
  body.jp-Notebook { max-width: 1120px; margin: 0 auto; padding: 1.5rem 2rem 4rem; overflow: auto;
    font: 15px/1.55 var(--jp-content-font-family, sans-serif); }
  body .jp-InputPrompt, body .jp-OutputPrompt { display: none; }
  body .jp-Cell { padding: 2px 0; }
  body .jp-RenderedHTMLCommon { max-width: 100%; font-size: 15px; }
  body .jp-RenderedMarkdown p, body .jp-RenderedMarkdown li { max-width: 78ch; }
  body .jp-OutputArea-child { display: block; }
  body .jp-OutputArea-child .jp-OutputArea-output { display: block; box-sizing: border-box;
    width: 100%; max-width: 100%; }
  body .jp-RenderedText pre { white-space: pre-wrap; font-size: 13px; }
  body .jp-CodeCell .jp-Cell-inputWrapper { display: none; }
  body.with-code .jp-CodeCell .jp-Cell-inputWrapper { display: flex; }
  #report-head { display: flex; align-items: baseline; justify-content: space-between; gap: 1rem; }
  #report-head button { font: inherit; padding: .25rem .8rem; cursor: pointer; }
  #report-contents { border: 1px solid var(--jp-border-color2); border-radius: 4px;
    padding: .6rem 1.2rem; margin: 0 0 1.5rem; }
  #report-contents ol { margin: .2rem 0 .4rem; padding-left: 1.2rem; list-style: none; }
  #report-contents a { color: var(--jp-content-link-color, #1565c0); text-decoration: none; }
</style>
{%- endblock -%}
{%- block body_header -%}
{{ super() }}
{{ resources.report_head }}
{%- endblock -%}
"""


class ReportError(ProblemsError):
    """Notebooks that are missing or cannot be read."""


class FreezeError(ValueError):
    """A notebook that cannot be committed as it is."""


def html_report(notebooks: Sequence[str | Path], path: str | Path, title: str = "SRCID") -> Path:
    """Write executed notebooks, one after the other, as one HTML file that asks nothing of the network.

    plotly figures stay interactive (plotly.js is embedded once, if needed), audio players stay players,
    code is folded away behind a button, and headings make the table of contents.

    Args:
        notebooks: executed notebooks.
        path: the file to write; its folder is made.
        title: of the page.

    Returns:
        ``path``.

    Raises:
        ReportError: notebooks that are missing or damaged, all of them; nothing has been written then.
    """
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    contents: list[tuple[int, str, str]] = []
    whole = nbformat.v4.new_notebook()
    figures = 0
    for book in _read(notebooks):
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = _anchored(cell.source, contents)
            for output in cell.get("outputs", []):
                figures += _drawn(output, f"figure-{figures + 1}")
            cell.id = f"cell-{len(whole.cells)}"
            whole.cells.append(cell)
    quiet = logging.getLogger("srcid.runs.report")  # nbconvert warns of each picture without a description
    quiet.setLevel(logging.ERROR)
    exporter = HTMLExporter(
        log=quiet,
        extra_loaders=[DictLoader({"report.html.j2": _TEMPLATE})],
        template_file="report.html.j2",
    )
    resources = {"metadata": {"name": title}, "report_head": _head(title, contents, figures > 0)}
    body, _ = exporter.from_notebook_node(whole, resources=resources)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
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


def _drawn(output: Any, identifier: str) -> bool:
    """Turn a plotly output into a div and the call that draws it; drop what a page cannot show of widgets."""
    data = output.get("data", {})
    data.pop("application/javascript", None)
    if data.pop(_VIEWS, None) is not None and set(data) <= {"text/plain"}:
        data["text/plain"] = "(interactive view: open the notebook in JupyterLab)"
    figure = data.pop(PLOTLY, None)
    if figure is None:
        return False
    config = {**figure.get("config", {}), **_CONFIG}
    config.pop("plotlyServerURL", None)
    call = {"data": figure["data"], "layout": figure.get("layout", {}), "config": config}
    call |= {"frames": figure["frames"]} if figure.get("frames") else {}
    text = json.dumps(call).replace("</", "<\\/").replace("<!--", "<\\!--")
    height = figure.get("layout", {}).get("height", 450)
    data.clear()
    data["text/html"] = (
        f'<div id="{identifier}" class="plotly-figure" style="height:{height}px"></div>'
        f'<script type="text/javascript">Plotly.newPlot("{identifier}", {text});</script>'
    )
    return True


def _head(title: str, contents: list[tuple[int, str, str]], with_plotly: bool) -> str:
    import plotly.offline

    entries = "".join(
        f'<li style="margin-left:{level - 1}.2em"><a href="#{anchor}">{html.escape(text)}</a></li>'
        for level, text, anchor in contents
        if level <= 2
    )
    toggle = "document.body.classList.toggle('with-code')"
    return (
        (_BUNDLE % plotly.offline.get_plotlyjs() if with_plotly else "")
        + f'<div id="report-head"><h1>{html.escape(title)}</h1>'
        + f'<button type="button" onclick="{toggle}">show or hide code</button></div>'
        + f'<nav id="report-contents"><ol>{entries}</ol></nav>'
    )


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
    """
    from srcid.style import picture, write_page

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".html":
        write_page(figure, path)
    elif path.suffix in (".png", ".svg", ".pdf", ".webp", ".jpg"):
        path.write_bytes(_image(picture(figure), path.suffix.removeprefix("."), ReportError, scale=2))
    else:
        raise ReportError(f"found a file named {path.name}; need one ending in .png, .svg, .pdf or .html")
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
