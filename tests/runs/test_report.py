"""The HTML report opens offline; a committed notebook is small and still."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_output

from srcid.features.clip_media import Shown
from srcid.page import clean, media_html, policy, with_sounds
from srcid.runs.folders import Run
from srcid.runs.freeze import FreezeError, freeze
from srcid.runs.report import ReportError, html_report
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
        self.places, self.attributes, self.policies = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.attributes |= attrs.keys()
        self.policies += [attrs["content"]] if "http-equiv" in attrs else []
        self.places += [attrs["data-figure"]] if "data-figure" in attrs else []
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
    data = next(script for script in page.scripts if script.startswith('{"figure-1"'))
    assert page.scripts.index(bundles[0]) < next(
        i for i, script in enumerate(page.scripts) if "newPlot(place" in script
    )
    figures = json.loads(data)
    assert list(figures) == ["figure-1", "figure-2", "figure-3"] == page.places
    assert figures["figure-1"]["layout"]["title"]["text"] == "</script><b>not markup</b>"
    assert figures["figure-1"]["config"]["showSendToCloud"] is False and figures["figure-1"]["height"] == 450


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


HOSTILE = {
    "script": "<script>document.title = 'ran'</script>",
    "unclosed script": "<script>document.title = 'ran'",
    "split script": "<scr<script></script>ipt>document.title = 'ran'</scr<script></script>ipt>",
    "onerror": "<img src=x onerror=\"document.title = 'ran'\">",
    "slashes": "<img/src=x/onerror=document.title='ran'>",
    "svg": "<svg onload=\"document.title = 'ran'\"><animate onbegin=\"document.title = 'ran'\" attributeName=x></svg>",
    "svg script": "<svg><script href='data:text/javascript,document.title=1'></script></svg>",
    "namespaces": "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 "
    "onerror=document.title=&quot;ran&quot;&gt;'>",
    "iframe": "<iframe srcdoc=\"<script>parent.document.title = 'ran'</script>\"></iframe>",
    "object": "<object data='data:text/html,<script>1</script>'></object><embed src='https://example.org/x'>",
    "link": "<a href=\"javascript:document.title = 'ran'\">click</a>",
    "hidden link": "<a href=\"java&#x0A;script:document.title = 'ran'\">click</a>",
    "data link": "<a href='data:text/html,<script>alert(1)</script>'>click</a>",
    "refresh": "<meta http-equiv='refresh' content='0;url=https://example.org/'>",
    "base": "<base href='https://example.org/'>",
    "form": "<form action='https://example.org/'><button>send</button><input name=a></form>",
    "style": "<style>@import 'https://example.org/x.css'; body { background: url(https://example.org/x.png) }</style>",
    "styled": "<div style='background: url(https://example.org/y.png)'>styled</div>",
    "picture": "<img src='https://example.org/z.png' srcset='https://example.org/z.png 2x'>",
    "place": "<div data-figure='figure-99'></div><div id='report-code'></div>",
}


def hostile_notebook(folder):
    """Everything that a notebook may try, in markdown, in markup that was shown, in pictures and in figures."""
    titled = figure("<img src=x onerror=\"document.title = 'ran'\"><a href=\"javascript:document.title = 'ran'\">a</a>")
    titled["layout"]["height"] = "1px\"><script>document.title = 'ran'</script>"
    titled["config"] = {"plotlyServerURL": "https://example.org", "showSendToCloud": True}
    placed = figure("own")
    placed["layout"]["images"] = [{"source": "https://example.org/i.png", "x": 0, "y": 1, "sizex": 1, "sizey": 1}]
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{HOSTILE['script']}</svg>"
    outputs = [shown({"text/html": markup, "text/plain": name}) for name, markup in HOSTILE.items()]
    outputs += [
        *(shown({PLOTLY: odd}) for odd in (titled, placed, {"data": "no list"}, [], {"data": [{"type": "nonsense"}]})),
        shown({"application/javascript": "document.title = 'ran'"}),
        shown({"image/svg+xml": drawing}),
        shown({"image/png": "\"><script>document.title = 'ran'</script>"}),
        shown({"text/markdown": "**bold** " + HOSTILE["onerror"]}),
        shown({"text/latex": "$x$ " + HOSTILE["script"]}),
        shown({"text/vnd.mermaid": HOSTILE["script"], "text/plain": HOSTILE["script"]}),
        new_output("stream", name="stdout", text=HOSTILE["script"]),
        new_output("error", ename=HOSTILE["script"], evalue="", traceback=[HOSTILE["onerror"]]),
    ]
    words = [nbformat.v4.new_markdown_cell(f"## {name} {markup}\n\n{markup}") for name, markup in HOSTILE.items()]
    raw = nbformat.v4.new_raw_cell(HOSTILE["script"], metadata={"raw_mimetype": "text/html"})
    path = executed(folder / "hostile.ipynb", title="Hostile", outputs=outputs, extra=[*words, raw])
    book = json.loads(path.read_text())
    last = book["cells"][-1]
    last["execution_count"] = HOSTILE["script"]
    last["metadata"]["tags"] = [f'"><img src=x onerror={json.dumps("document.title = 1")}>']
    book["metadata"]["title"] = f"</title>{HOSTILE['script']}"
    book["metadata"]["language_info"] = {"name": HOSTILE["script"], "pygments_lexer": HOSTILE["script"]}
    book["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"a": HOSTILE["script"]}}
    path.write_text(json.dumps(book))
    return path


@pytest.fixture
def hostile_report(tmp_path, monkeypatch):
    """A report of a hostile notebook in a hostile run folder, and its title is hostile as well."""
    monkeypatch.setenv("SRCID_RUNS", str(tmp_path / "runs"))
    run = Run.create_or_open("hostile", "02_train", {}, values={"data": HOSTILE["onerror"]})
    run.write("status.json", {**run.status, "code": HOSTILE["script"]})
    run.finish()
    finding = {"figure": {"layout": {"title": {"text": HOSTILE["onerror"] + "&lt;script&gt;1&lt;/script&gt; found"}}}}
    run.write("figures/scores.json", finding)
    hostile_notebook(run.folder).rename(run.notebook)
    return html_report([run.notebook], tmp_path / "report.html", title=HOSTILE["script"])


def test_a_report_keeps_no_script_of_a_notebook_and_forbids_it(hostile_report):
    text = hostile_report.read_text()
    page = Page(text)
    assert page.tags.count("script") == 4  # plotly, the figures as data, and two of this package
    assert text.index("Content-Security-Policy") < min(
        text.index("<script"), text.index("<style"), text.index("<title")
    )
    assert [name for name in page.attributes if name.startswith("on") or name in ("srcdoc", "srcset", "action")] == []
    assert {"iframe", "object", "embed", "base", "form", "input", "link"}.isdisjoint(page.tags)
    assert page.tags.count("meta") == 3 and "refresh" not in str(page.policies)
    assert all(address.startswith(("data:image/", "data:audio/", "#")) for address in page.loads)
    assert not any(link.lower().startswith(("javascript", "java\n", "data:")) for link in page.links)
    [rules] = [rule for rule in page.policies if "default-src 'none'" in rule]
    for script in re.findall("<script>(.*?)</script>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules
    assert "unsafe-inline" not in rules.partition("script-src")[2].partition(";")[0] and "unsafe-eval" not in rules


def test_what_is_no_script_stays_as_it_is():
    player = '<audio controls><source src="data:audio/wav;base64,UklGRg==" type="audio/wav"></audio>'
    line = '<svg viewBox="0 0 9 9" role="img"><polyline points="1,2 3,4" stroke="currentColor"></polyline></svg>'
    table = '<table class="dataframe"><tr style="text-align:right;"><th colspan="2">a &lt; b</th></tr></table>'
    styled = '<div style="margin:8px 12px 2px;background:#0072B2;image-rendering:pixelated;position:absolute;">x</div>'
    for markup in (
        player,
        line,
        table,
        styled,
        '<a href="#part-1">x</a>',
        '<a href="02_train.ipynb">x</a>',
        "1 &amp; 2",
    ):
        assert clean(markup).replace("<tbody>", "").replace("</tbody>", "") == markup
    assert "url" not in clean("<div style='background: url(https://example.org)'></div><p style='a: \\75rl(x)'></p>")
    assert clean("<style>p { color: red }</style><p>kept</p><script>gone()") == "<p>kept</p>"
    assert "left out" in clean("<b>" * 20_000)


@pytest.mark.parametrize("piece", ["<div>", "<table><tr><td>", "<div><b>", "<svg><path>", "<ul><li>"])
def test_what_nests_deep_is_left_out_before_it_takes_minutes(piece):
    assert "nests deeper than 100" in clean(piece * 3000)
    assert clean("<b>kept</b>" + "<p>x</p>" * 3000).startswith("<b>kept</b><p>x</p>")


def test_players_of_the_explorer_keep_their_button_and_lose_their_handlers():
    shown = Shown("audio", np.sin(np.arange(400.0)), 8000)
    tile = clean(with_sounds(media_html(shown, "audio", "#0072B2")))
    assert "<button" in tile and "data-play" in tile and 'src="data:audio/wav;base64,' in tile
    assert 'src="data:image/svg+xml;base64,' in tile  # its waveform
    assert "onclick" not in tile and "onplay" not in tile
    assert "block-size:0" in tile and "content-visibility:hidden" in tile  # what is said where they do nothing


def test_the_front_tells_title_date_runs_and_findings_most_telling_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SRCID_RUNS", str(tmp_path))
    first = Run.create_or_open("first", "02_train", {"a": 1}, values={"data": "/some/where/digits"})
    second = Run.create_or_open("second", "04_codebook", {"a": 2})
    kept = {
        first: {"curves": "Loss falls", "scores": "All is<br>well"},
        second: {"meaning": "Codes mean &lt;seven&gt;"},
    }
    for run, titles in kept.items():
        for name, title in titles.items():
            run.write(f"figures/{name}.json", {"figure": {"layout": {"title": {"text": title}}}})
        executed(run.notebook)
        run.finish()
    (second.figures / "usage.json").write_text("damaged")
    second.write("status.json", {**second.status, "ended": "2026-03-04T05:06:07+00:00"})
    first.write("status.json", {**first.status, "ended": "2026-03-04T04:00:00+00:00"})
    text = html_report([first.notebook, second.notebook], tmp_path / "report.html", title="Mine").read_text()
    verdict = text[text.index('id="report-verdict"') : text.index('id="report-runs"')]
    assert re.findall(r"<p>(.*?)</p>", verdict) == ["All is well.", "Codes mean &lt;seven&gt;.", "Loss falls."]
    assert '<p id="report-date">4 March 2026, 05:06</p>' in text and "<h1>Mine</h1>" in text
    assert "<td>first</td><td>02_train</td><td>digits</td><td>finished</td><td>4 March 2026, 04:00</td>" in text


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


@pytest.mark.browser
def test_nothing_hostile_runs_or_leaves_the_page_in_a_browser(hostile_report, browser):
    page = browser.new_page()
    asked, said = [], []
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(hostile_report.as_uri())
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 2")
    title = page.title()
    for link in page.locator("a").all():
        if "click" in (link.text_content() or ""):
            link.dispatch_event("click")
    page.wait_for_timeout(500)
    assert (
        page.url.partition("#")[0] == hostile_report.as_uri()
        and page.title() == title == HOSTILE["script"]
        and said == []
    )
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
    assert page.frames == [page.main_frame]
    code = page.locator(".jp-CodeCell .jp-Cell-inputWrapper").first
    page.get_by_role("button", name="show or hide code").click()  # ours still works
    assert code.is_visible()
    page.close()


@pytest.mark.browser
def test_the_policy_alone_keeps_scripts_from_running(tmp_path, browser):
    own = "document.body.dataset.own = 'ran'"
    text = "".join(HOSTILE[name] for name in ("script", "onerror", "svg", "iframe", "link", "picture"))
    (tmp_path / "page.html").write_text(f"{policy([own])}<title>calm</title><body>{text}<script>{own}</script>")
    page = browser.new_page()
    asked = []
    page.on("requestfailed", lambda request: asked.append((request.url, request.failure)))
    page.on("requestfinished", lambda request: asked.append((request.url, "came")))
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("a").click()
    page.wait_for_timeout(300)
    assert page.title() == "calm" and page.evaluate("document.body.dataset.own") == "ran"
    assert [why for address, why in asked if address.startswith("http")] == ["csp"]
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_follows_the_theme_of_its_reader(report, browser, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(report.as_uri())
    colors = page.evaluate(
        "[...document.querySelectorAll('html, #report-head h1')].map((e, i) =>"
        " getComputedStyle(e)[i ? 'color' : 'backgroundColor'].match(/[0-9.]+/g).slice(0, 3).map(Number))"
    )
    page.close()
    background, ink = (sum(color) / 3 for color in colors)
    assert (background > 200 and ink < 80) if scheme == "light" else (background < 60 and ink > 180)
