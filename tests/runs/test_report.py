"""The HTML report opens offline; a committed notebook is small and still."""

import base64
import json
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_output

from srcid.runs.report import FreezeError, ReportError, freeze, html_report
from tests.notebook_maker import make_notebook

PLOTLY = "application/vnd.plotly.v1+json"
VIEW = "application/vnd.jupyter.widget-view+json"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
PLAYER = '<audio controls="controls"><source src="data:audio/wav;base64,UklGRg==" type="audio/wav" /></audio>'


def figure(text="curve"):
    return {"data": [{"type": "scatter", "x": [1, 2], "y": [3, 4]}], "layout": {"title": {"text": text}}}


def executed(path, title="Tiny", outputs=(), extra=()):
    """A notebook as papermill leaves it, with ``outputs`` in its last cell."""
    make_notebook(path, "## Drawing", "draw()", title=title)
    book = nbformat.read(path, as_version=4)
    book.cells[-1].outputs = list(outputs)
    book.cells[-1].execution_count = 2
    book.cells[-1].metadata.update(papermill={"duration": 1.5}, execution={"iopub.execute_input": "now"})
    book.metadata.update(papermill={"duration": 9}, widgets={"state": {}})
    book.cells[2:2] = extra
    nbformat.write(book, path)
    return path


def shown(data, kind="display_data"):
    return new_output(kind, data=data)


class Page(HTMLParser):
    """What a page loads, and its scripts, headings and links."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.anchors, self.tags, self.scripts = [], [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if "id" in attrs:
            self.anchors.add(attrs["id"])
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        else:
            self.loads += [attrs[name] for name in ("src", "href", "data") if attrs.get(name)]

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)


@pytest.fixture
def report(tmp_path):
    outputs = [
        shown({PLOTLY: figure("</script><b>not markup</b>"), "text/plain": "Figure"}),
        shown({PLOTLY: figure()}),
        shown({"text/html": PLAYER, "text/plain": "player"}),
        shown({VIEW: {"model_id": "x"}, "text/plain": "IntSlider(value=0)"}),
        shown({"image/png": PIXEL}),
    ]
    first = executed(tmp_path / "first.ipynb", title="First", outputs=outputs)
    second = executed(tmp_path / "second.ipynb", title="Second & last", outputs=[shown({PLOTLY: figure()})])
    return html_report([first, second], tmp_path / "made" / "report.html", title="A <report>")


def test_the_report_loads_nothing_from_elsewhere(report):
    page = Page(report.read_text())
    assert page.loads and all(address.startswith(("data:", "#")) for address in page.loads)
    shell = "".join(script for script in page.scripts if "plotly.js v" not in script[:500])
    for loader in ("import(", "require", "MathJax", "http://", "https://"):
        assert loader not in shell


def test_plotly_is_embedded_once_and_draws_every_figure(report):
    page = Page(report.read_text())
    bundles = [script for script in page.scripts if len(script) > 1_000_000]
    assert len(bundles) == 1 and page.tags.count("html") == 1
    calls = [script for script in page.scripts if script.startswith("Plotly.newPlot(")]
    assert len(calls) == 3 and {"figure-1", "figure-2", "figure-3"} <= page.anchors
    assert page.scripts.index(bundles[0]) < page.scripts.index(calls[0])
    drawn = json.loads(calls[0].removeprefix('Plotly.newPlot("figure-1", ').removesuffix(");"))
    assert drawn["layout"]["title"]["text"] == "</script><b>not markup</b>"
    assert drawn["config"]["showSendToCloud"] is False


def test_notebooks_follow_each_other_under_one_table_of_contents(report):
    text = report.read_text()
    page = Page(text)
    inner = [link for link in page.links if link.startswith("#part-")]
    assert len(inner) == 4 and {link[1:] for link in inner} <= page.anchors
    assert text.index('"part-1"') < text.index('"part-3"') and ">Second &amp; last<" in text
    assert "A &lt;report&gt;" in text and page.tags.count("button") == 1


def test_players_pictures_and_text_stay(report):
    text = report.read_text()
    assert "open the notebook in JupyterLab" in text
    assert {"data:audio/wav;base64,UklGRg==", f"data:image/png;base64,{PIXEL}"} <= set(Page(text).loads)


def test_a_report_without_figures_is_small(tmp_path):
    only = executed(tmp_path / "only.ipynb", outputs=[new_output("stream", name="stdout", text="no figures")])
    report = html_report([only], tmp_path / "report.html")
    assert report.stat().st_size < 1_000_000 and "no figures" in report.read_text()


def test_headings_inside_code_are_no_headings(tmp_path):
    book = make_notebook(tmp_path / "fenced.ipynb", "# Real\n\n```\n# no heading\n```\n")
    page = Page(html_report([book], tmp_path / "report.html").read_text())
    assert sum(link.startswith("#part-") for link in page.links) == 2


def test_missing_and_damaged_notebooks_are_named_all_at_once(tmp_path):
    good = executed(tmp_path / "good.ipynb")
    for name, content in (("text", b"hello"), ("binary", b"\xff\xfe{}"), ("list", b"[]"), ("cut", b'{"cells": [')):
        (tmp_path / f"{name}.ipynb").write_bytes(content)
    names = ("good", "absent", "text", "binary", "list", "cut")
    with pytest.raises(ReportError) as caught:
        html_report([tmp_path / f"{name}.ipynb" for name in names], tmp_path / "report.html")
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 5 and all(f"{name}.ipynb" in line for name, line in zip(names[1:], lines, strict=True))
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(ReportError, match=r"text\.ipynb"):
        freeze(tmp_path / "text.ipynb", good)


def test_freezing_drops_what_moves(tmp_path):
    outputs = [
        new_output("stream", name="stdout", text="step 1\n"),
        new_output("stream", name="stdout", text="step 2\n"),
        new_output("stream", name="stderr", text="warning"),
        shown({"text/html": PLAYER, "text/plain": "player"}),
        shown({VIEW: {"model_id": "x"}, "text/plain": "IntSlider"}),
        new_output("execute_result", data={"text/plain": "0.75"}, execution_count=2),
    ]
    injected = nbformat.v4.new_code_cell("seed = 3", metadata={"tags": ["injected-parameters"]})
    source = executed(tmp_path / "run.ipynb", outputs=outputs, extra=[injected])
    target = tmp_path / "notebooks" / "tiny.ipynb"
    target.parent.mkdir()
    size = freeze(source, target)
    book = nbformat.read(target, as_version=4)
    nbformat.validate(book)
    assert size == target.stat().st_size
    assert [cell.cell_type for cell in book.cells] == ["markdown", "code", "markdown", "code"]
    assert book.cells[1].metadata == {"tags": ["parameters"]} and book.cells[3].metadata == {}
    assert set(book.metadata) == {"kernelspec", "language_info"}
    kept = book.cells[3].outputs
    assert [o.output_type for o in kept] == ["stream", "display_data", "execute_result"]
    assert kept[0].text == "step 1\nstep 2\n" and PLAYER in kept[1].data["text/html"]
    assert book.cells[3].execution_count == 2
    assert "draw()" in target.with_suffix(".py").read_text()


def test_freezing_twice_changes_nothing(tmp_path):
    source = executed(tmp_path / "run.ipynb", outputs=[new_output("stream", name="stdout", text="done\n")])
    freeze(source, tmp_path / "tiny.ipynb")
    before = (tmp_path / "tiny.ipynb").read_bytes(), (tmp_path / "tiny.py").read_bytes()
    freeze(tmp_path / "tiny.ipynb", tmp_path / "tiny.ipynb")
    assert before == ((tmp_path / "tiny.ipynb").read_bytes(), (tmp_path / "tiny.py").read_bytes())


def test_errors_and_heavy_notebooks_are_not_committed(tmp_path):
    target = tmp_path / "tiny.ipynb"
    bad = [new_output("error", ename="ValueError", evalue="no", traceback=[])]
    with pytest.raises(FreezeError, match="ends in an error"):
        freeze(executed(tmp_path / "run.ipynb", outputs=bad), target)
    heavy = [new_output("stream", name="stdout", text="x" * 1_200_000)]
    with pytest.raises(FreezeError, match=r"1\.2 MB, need less than 1; .* begins 'draw\(\)'"):
        freeze(executed(tmp_path / "run.ipynb", outputs=heavy), target)
    assert not target.exists()


@pytest.mark.browser
def test_figures_freeze_to_pictures(tmp_path):
    source = executed(tmp_path / "run.ipynb", outputs=[shown({PLOTLY: figure()}), shown({PLOTLY: figure("b")})])
    freeze(source, tmp_path / "tiny.ipynb")
    outputs = nbformat.read(tmp_path / "tiny.ipynb", as_version=4).cells[-1].outputs
    assert [set(output.data) for output in outputs] == [{"image/png"}, {"image/png"}]
    pictures = [base64.b64decode(output.data["image/png"]) for output in outputs]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures) and pictures[0] != pictures[1]


@pytest.mark.browser
def test_the_report_draws_offline_in_a_browser(report, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked, problems = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(report.as_uri())
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 3")
    widths = page.evaluate("[...document.querySelectorAll('.js-plotly-plot')].map(e => e._fullLayout.width)")
    code = page.locator(".jp-CodeCell .jp-Cell-inputWrapper").first
    assert not code.is_visible()
    page.get_by_role("button", name="show or hide code").click()
    assert code.is_visible()
    page.close()
    assert len(widths) == 3 and all(900 < width < 1280 for width in widths)
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
    assert problems == []
