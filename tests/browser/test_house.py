"""The house style on real pages: nothing is cut, text can be read, in two sizes of window and both themes."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from srcid.style import LEAST
from tests.browser.steps import assert_well, run_all, until, wait_for_the_end

pytestmark = pytest.mark.browser

SOURCE = """
import numpy as np
import plotly.graph_objects as go
from srcid.maps.browser import LinkedMaps
from srcid.maps.figures.panels import map_figure
from srcid.maps.points import Points
from srcid.maps.projection import project
from srcid.style import OKABE_ITO, empty_figure, finish
from srcid.training.figures import training_curves

draw, names = np.random.default_rng(0), ("audio", "video", "text")
places = np.arange(200)
columns = dict(
    layer=np.full(600, 1), modality=np.repeat(names, 200), clip=np.tile(places // 5, 3), step=np.tile(places % 5, 3),
    code=draw.integers(0, 9, size=600), label=np.array(["bark", "horn", "a long name"])[draw.integers(3, size=600)],
)
points = Points(draw.normal(size=(600, 5)), columns, "general features of layer 1")
found = project(points, "pca")
lines = [
    {"step": s, "epoch": s / 50, "loss/total": 50 / s, "layers_open": 1 + (s > 30), "agreement/1/audio-video": 0.2,
     "agreement/1/audio-text": 0.4}
    | {f"{q}/{k}/{m}": k + s / 50 for q in ("recon", "mi", "scale") for k in (1, 2) for m in names}
    for s in range(1, 101)
]
"""
CELLS = (
    SOURCE,
    "training_curves(lines, names, 2, caption='Twelve <words> of small print. ' * 12)",
    "map_figure([(found, c) for c in ('modality', 'label', 'code')], names)",
    "LinkedMaps([found, found, found], names)",
    """
fig = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
for axis, color in zip((fig.layout.xaxis, fig.layout.yaxis), OKABE_ITO):
    axis.title = dict(text="a modality", font=dict(color=color))
finish(fig, "Titles of axes in colours of modalities", "Small print.", height=240)""",
    "empty_figure('There is nothing to draw, for <script>this</script> reason.')",
    "print('disentanglement ' * 40)",
    """
import pandas as pd
from srcid.widget import offer_csv
offer_csv()
pd.DataFrame({"code": [3, 5], "name": ["a,b", "ö"]})""",
)
SIZES = {"wide": (1440, 900), "narrow": (1280, 720)}
# of each figure: its width, that of the cell's output, where its letters end, which texts lie on each other, and the
# contrast of its text
LOOK = """() => {
    const luminance = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92
        : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const channels = text => { const c = text.match(/[\\d.]+/g).map(Number);
        return text.startsWith('color(') ? [...c.slice(0, 3).map(v => 255 * v), ...c.slice(3)] : c; };
    const ground = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
    const contrast = (color, alpha, back) => { const c = color.map((v, i) => alpha * v + (1 - alpha) * back[i]);
        const [a, b] = [luminance(c), luminance(back)].sort((x, y) => y - x); return (a + .05) / (b + .05); };
    return [...document.querySelectorAll('.js-plotly-plot')].map(plot => {
        const back = ground(plot), room = plot.closest('.jp-OutputArea-child').getBoundingClientRect();
        const letters = [...plot.querySelectorAll('text')].filter(t => t.textContent.trim()
            && parseFloat(getComputedStyle(t).fontSize) > 2 && t.getBoundingClientRect().width);
        const read = letters.map(t => { const s = getComputedStyle(t), c = channels(s.fill);
            return [contrast(c.slice(0, 3), (c[3] ?? 1) * s.fillOpacity, back), t.textContent]; });
        const box = plot.querySelector('.main-svg').getBoundingClientRect();
        const boxes = letters.map(t => [t.getBoundingClientRect(), t.textContent]);
        const within = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]) > 3;
        const collide = boxes.flatMap(([a, s], i) => boxes.slice(i + 1).filter(([b]) =>
            within(a, b, 'left', 'right') && within(a, b, 'top', 'bottom')).map(([, t]) => [s, t]));
        return {width: box.width, room: room.width, left: box.left, right: box.right,
            letters: boxes.map(([r, s]) => [r.left, r.right, s]), collide,
            worst: read.sort((a, b) => a[0] - b[0])[0] ?? [21, ''], bar: getComputedStyle(
                plot.querySelector('.modebar-group')).opacity}; });
}"""
FITS = """() => [...document.querySelectorAll('.js-plotly-plot')].every(plot => {
    const room = plot.closest('.jp-OutputArea-child').getBoundingClientRect().width;
    const width = plot.querySelector('.main-svg').getBoundingClientRect().width;
    return 0.9 * room - 90 < width && width <= room + 1; })"""
WORDS = """() => [...document.querySelectorAll('.srcid-title, .srcid-caption')].map(e => {
    const range = document.createRange(); range.selectNodeContents(e);
    const box = range.getBoundingClientRect(), room = e.closest('.jp-OutputArea-child').getBoundingClientRect();
    return [e.textContent, box.right <= room.right + 1, box.height > 8]; })"""


@pytest.fixture(scope="module")
def page(lab):
    """A notebook of one figure of each kind, run."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    book.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(book, lab.folder / "house.ipynb")
    page = lab.open("house.ipynb")
    run_all(page)
    assert_well(lab, wait_for_the_end(page, 120))
    yield page
    page.close()


def test_figures_stay_when_the_theme_changes(page):
    """The first time, as a second drawing brings back what the first one lost."""
    heights = "() => [...document.querySelectorAll('.jp-RenderedPlotly')].map(plot => plot.clientHeight)"
    before = page.evaluate(heights)
    assert before and min(before) > 200
    for theme in ("Dark", "Light"):
        page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
        page.wait_for_timeout(2000)
        assert page.evaluate(heights) == before


def test_figures_are_as_wide_as_the_page_before_it_is_ever_resized(lab, page):
    until(page, FITS)
    menu = page.locator('.widget-dropdown:has-text("colour") select')
    menu.select_option("label")
    page.wait_for_timeout(2500)
    until(page, FITS)


def test_figures_keep_to_their_page_where_it_changes_and_the_window_does_not(page):
    before = page.evaluate(LOOK)[0]["room"]
    for wider in (True, False):
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        until(page, f"() => (({LOOK})()[0].room > {before} + 100) === {str(wider).lower()} && ({FITS})()")


@pytest.mark.parametrize("theme", ("Light", "Dark"))
@pytest.mark.parametrize("size", SIZES)
def test_figures_fit_their_page_and_can_be_read(lab, page, size, theme):
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
    )
    page.mouse.move(2, 2)
    page.wait_for_timeout(2500)
    until(page, FITS)  # a busy machine draws later
    found = page.evaluate(LOOK)
    for place in range(len(found) if lab.artefacts else 0):
        page.evaluate("i => document.querySelectorAll('.srcid-title')[i].scrollIntoView({block: 'start'})", place)
        page.wait_for_timeout(400)
        lab.picture(page, f"house_{size}_{theme.lower()}_{place}")
    assert len(found) == 4  # nothing is drawn for the one that has nothing to draw
    for figure in found:
        assert 0.9 * figure["room"] - 90 < figure["width"] <= figure["room"] + 1, figure
        assert all(figure["left"] - 1 <= a and b <= figure["right"] + 1 for a, b, _ in figure["letters"]), figure
        assert figure["worst"][0] >= 4.5, figure["worst"]
        assert figure["bar"] == "0"  # until the mouse comes
        assert figure["collide"] == []
    said = page.evaluate(WORDS)
    assert len(said) == 9 and all(fits and high for _, fits, high in said), said
    assert said[0][0].startswith("Step 100: loss 1.61 → 0.5 since layer 2 opened") and "<words>" in said[1][0]
    assert said[-1][0] == "There is nothing to draw, for <script>this</script> reason."


def test_where_there_is_no_room_a_figure_keeps_its_least_width_and_its_output_scrolls(lab, page):
    page.set_viewport_size(dict(width=900, height=720))
    until(page, f"() => ({LOOK})().every(figure => Math.abs(figure.width - {LEAST}) < 1)")
    found = page.evaluate(LOOK)
    assert len(found) == 4
    for figure in found:
        assert figure["room"] < figure["width"] == LEAST, figure
        assert all(figure["left"] - 1 <= a and b <= figure["right"] + 1 for a, b, _ in figure["letters"]), figure
        assert figure["collide"] == []
    reach = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => {
        for (let e = plot; e; e = e.parentElement) { if (getComputedStyle(e).overflowX === 'auto') {
            e.scrollLeft = 1e4; return plot.getBoundingClientRect().right - e.getBoundingClientRect().right; } } })"""
    )
    assert all(right <= 1 for right in reach), reach


def test_printed_sentences_wrap_between_words(page):
    lines, broken = page.evaluate(
        """() => {
        const pre = [...document.querySelectorAll('.jp-OutputArea-output pre')]
            .find(e => e.textContent.startsWith('disentanglement')), text = pre.firstChild;
        const rects = (start, end) => { const range = document.createRange();
            range.setStart(text, start); range.setEnd(text, end); return range.getClientRects().length; };
        return [rects(0, text.length), [...text.data.matchAll(/\\w+/g)].filter(
            found => rects(found.index, found.index + found[0].length) > 1).length]; }"""
    )
    assert lines > 3 and broken == 0


def test_a_table_is_saved_as_csv_and_a_figure_as_svg(lab, page):
    with page.expect_download() as found:
        page.click("a.srcid-csv")
    assert found.value.suggested_filename == "table.csv"
    assert Path(found.value.path()).read_text(encoding="utf-8") == 'code,name\n3,"a,b"\n5,ö\n'
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as found:
        page.locator(".modebar-btn[data-title^='Download plot']").first.click()
    picture = Path(found.value.path()).read_text(encoding="utf-8")
    assert found.value.suggested_filename == "figure.svg" and picture.startswith("<svg") and "layer 1" in picture
