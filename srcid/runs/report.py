"""Executed notebooks for readers: one HTML file that opens offline."""

from __future__ import annotations

import contextlib
import html
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from srcid.files import make_folder, whole_file
from srcid.page import DRAW, PLAY, clean, figure_data, place, policy
from srcid.problems import ProblemsError
from srcid.runs.folders import Run, RunError
from srcid.runs.notebooks import first_line

PLOTLY = "application/vnd.plotly.v1+json"
VIEWS = "application/vnd.jupyter.widget-view+json"
SENTENCES = 3
# Figures whose titles, which are findings, say most of a run; the others follow by name.
_TELLING = ("scores", "methods", "differences", "ablation", "agreement", "meaning", "within", "usage", "curves")
_HEAD = ("run", "notebook", "data", "status", "ended", "code")
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
    books = read_notebooks(notebooks)
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
        "front": _front(title, [Path(notebook) for notebook in notebooks]) + _contents(contents),
        "scripts": figure_data(figures, CONFIG) + "".join(f"<script>{script}</script>" for script in scripts),
    }
    body, _ = exporter.from_notebook_node(new_notebook(cells=cells), resources=resources)
    path = Path(path)
    make_folder(path.parent)
    with whole_file(path) as draft:
        draft.write_text(body, encoding="utf-8")
    return path


def read_notebooks(notebooks: Sequence[str | Path]) -> list[Any]:
    """Return notebooks as nbformat has them.

    Raises:
        ReportError: some are missing or damaged; all of them are named.
    """
    import nbformat

    found, problems = [], []
    for path in notebooks:
        try:
            found.append(nbformat.read(path, as_version=4))
        except OSError as error:
            problems.append(f"found no notebook {path} ({error.strerror})")
        except Exception as error:  # whatever the reader stumbles upon: no JSON, no UTF-8, JSON of something else
            problems.append(f"{path} is no notebook, or a damaged one ({first_line(error)})")
    ReportError.check("notebooks cannot be read:", problems)
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
        return new_markdown_cell(_anchored(source, contents), attachments=cell.get("attachments") or {})
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
        elif VIEWS in data and set(kept) <= {"text/plain"}:
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


def _front(title: str, notebooks: Sequence[Path]) -> str:
    """Return the top of a page of executed notebooks as HTML.

    Args:
        notebooks: those that lie in run folders tell of their runs; the last one's findings come first.
    """
    found = []
    for folder in dict.fromkeys(path.parent for path in notebooks):
        with contextlib.suppress(RunError):  # executed by hand, or passed on without its folder
            found.append(Run.open(folder))
    ended = max((run.status.get("ended") or "" for run in found), default="")
    date = f'<p id="report-date">{_date(ended)}</p>' if ended else ""
    telling = sorted((finding for run in found[::-1] for finding in _findings(run)), key=lambda finding: finding[0])
    sentences = [sentence for _, sentence in telling][:SENTENCES]
    verdict = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    return (
        f'<div id="report-head"><h1>{html.escape(title)}</h1>'
        f'<button id="report-code" type="button">show or hide code</button></div>{date}'
        + (f'<div id="report-verdict">{verdict}</div>' if verdict else "")
        + (_table(found) if found else "")
    )


def _findings(run: Run) -> Iterator[tuple[int, str]]:
    """What a run found, each with its rank: the titles of the figures that it has kept."""
    for name in sorted(path.stem for path in run.figures.glob("*.json")):
        with contextlib.suppress(RunError, KeyError, TypeError):  # damaged; the figure itself is not shown here
            text = run.read(f"figures/{name}.json")["figure"]["layout"]["title"]["text"]
            if isinstance(text, str) and text.strip():
                sentence = html.unescape(re.sub(r"<[^<>]*>", " ", text))
                yield (*_TELLING, name).index(name), re.sub(r"\s+", " ", sentence).strip().rstrip(".")[:400] + "."


def _table(runs: Sequence[Run]) -> str:
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(word)}</td>' for word in _facts(run))}</tr>" for run in runs)
    return f'<table id="report-runs"><tr>{"".join(f"<th>{name}</th>" for name in _HEAD)}</tr>{rows}</table>'


def _facts(run: Run) -> list[str]:
    status = run.status
    data = str(status.get("values", {}).get("data") or "")
    words = [run.name, status["notebook"], Path(data).name, status["status"]]
    words += [_date(status.get("ended") or ""), str(status.get("code") or "")]
    return [word[:120] for word in words]


def _date(time: str) -> str:
    moment = datetime.fromisoformat(time) if time else None
    return f"{moment.day} {moment:%B %Y, %H:%M}" if moment else ""
