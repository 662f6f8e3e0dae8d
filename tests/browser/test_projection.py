"""The maps as a person uses them: looked at, lassoed, clicked; the linked views, the table and the explorer follow."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from tests.browser.steps import CELLS, assert_well, at_rest, in_both_themes, run_all, until, wait_for_the_end

pytestmark = pytest.mark.browser

# the linked maps are the only figure whose points can be chosen and that lives in a widget
LINKED = """[...document.querySelectorAll('.jp-OutputArea-output .widget-vbox .js-plotly-plot')]
    .find(plot => plot.data.length > 1 && plot.data.every(trace => trace.mode === 'markers'))"""
# what the text below the maps says
TABLE = """([...document.querySelectorAll('.widget-html')].map(h => h.textContent.trim())
    .find(text => /are marked|is marked/.test(text)) ?? '')"""


def marked(page):
    """Number of marked points by panel, -1 where nothing is."""
    return page.evaluate(f"() => ({LINKED}).data.map(t => t.selectedpoints ? t.selectedpoints.length : -1)")


def where(page, panel):
    """The rectangle of a panel of the linked maps, in pixels of the page."""
    return until(
        page,
        f"""i => {{
            const plot = {LINKED}, layout = plot._fullLayout, box = plot.getBoundingClientRect();
            const x = layout[i ? `xaxis${{i + 1}}` : 'xaxis'], y = layout[i ? `yaxis${{i + 1}}` : 'yaxis'];
            return {{x: box.x + x._offset, y: box.y + y._offset, width: x._length, height: y._length}};
        }}""",
        panel,
    )


def pixel(page, panel, point):
    """Where a point of a panel is on the page."""
    script = f"""([i, p]) => {{
        const plot = {LINKED}, layout = plot._fullLayout, box = plot.getBoundingClientRect(), t = plot._fullData[i];
        const x = layout[i ? `xaxis${{i + 1}}` : 'xaxis'], y = layout[i ? `yaxis${{i + 1}}` : 'yaxis'];
        return [box.x + x._offset + x.d2p(plot.calcdata[i][p].x), box.y + y._offset + y.d2p(plot.calcdata[i][p].y)];
    }}"""
    return at_rest(page, lambda: until(page, script, [panel, point]))


def drag(page, corners):
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=6)
    page.mouse.up()


def drawn(page, box):
    """Number of pixels inside a part of the page that are not of its background."""
    from PIL import Image

    inner = {"x": box["x"] + 4, "y": box["y"] + 4, "width": box["width"] - 8, "height": box["height"] - 8}
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=inner))).convert("RGB"), dtype=int)
    values, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return int((abs(pixels - values[counts.argmax()]).max(axis=2) > 3).sum())


def follows(page, condition, seconds=20):
    page.wait_for_function(f"() => {condition}", timeout=1000 * seconds)


def in_view(page):
    """Scroll to the linked maps, and return their rectangles once they lie still on the screen."""
    height = page.viewport_size["height"]

    def look():
        page.evaluate(f"() => ({LINKED}).scrollIntoView({{block: 'center'}})")
        panels = [where(page, i) for i in range(3)]
        return panels if all(box["y"] >= 0 and box["y"] + box["height"] <= height for box in panels) else None

    return at_rest(page, look)


def interact(lab, page, points):
    """Lasso, click and clear in the linked maps, which have three panels: two of features, one of codes."""
    panels = in_view(page)
    assert all(drawn(page, box) > 200 for box in panels)  # nothing is blank
    first = marked(page)
    assert first[0] > 0 and first[1] == first[0] and first[2] >= 1  # a code is marked to begin with

    # a lasso around the left half of the first map
    box = panels[0]
    left, right = box["x"] + 3, box["x"] + box["width"] / 2
    top, bottom = box["y"] + 3, box["y"] + box["height"] - 3
    drag(page, [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 2)])
    follows(page, f"!{TABLE}.startsWith('{first[0]:,} of')")
    page.wait_for_timeout(1000)
    lab.picture(page, "05_projection_lasso")
    lassoed = marked(page)
    assert lassoed != first and lassoed[0] > 0
    assert lassoed[1] == lassoed[0] and lassoed[2] >= 1, "the linked maps do not follow"
    assert page.evaluate(f"() => {TABLE}").startswith(f"{lassoed[0]:,} of {points} points")

    # look instead of choose: a click marks the code's points, and the explorer shows the code
    page.locator('button:has-text("point and click")').click()
    follows(page, f"({LINKED}).layout.hovermode === 'closest'")
    page.mouse.move(*pixel(page, 0, 5))
    follows(page, "document.querySelector('.hoverlayer .hovertext')")
    said = page.locator(".hoverlayer .hovertext").first.text_content()
    code, layer = re.search(r"code (\d+) of layer (\d)", said).groups()
    lab.picture(page, "05_projection_hover")
    page.mouse.down()
    page.mouse.up()
    follows(page, f"document.body.textContent.includes('Layer {layer}, code {code}:')")
    page.wait_for_timeout(1000)
    lab.picture(page, "05_projection_click")
    clicked = marked(page)
    assert clicked[2] == 1 and clicked[0] == clicked[1] > 0

    # colour and mark without a mouse
    page.locator('.widget-dropdown:has-text("colour") select').select_option("label")
    follows(page, f"({LINKED}).layout.annotations.some(a => a.text.includes('background'))")
    page.wait_for_timeout(1000)
    assert marked(page) == clicked
    page.locator('.widget-dropdown:has-text("mark") select').select_option("background")
    follows(page, f"{TABLE}.includes('background') && ({LINKED}).data[0].selectedpoints.length !== {clicked[0]}")
    page.wait_for_timeout(1000)
    lab.picture(page, "05_projection_value")

    page.locator('button:has-text("clear")').first.click()
    follows(page, f"({LINKED}).data.every(t => !t.selectedpoints)")


def test_points_are_lassoed_and_clicked(inspected):
    lab = inspected.lab
    page = inspected.open("05_projection", points=300)
    run_all(page)
    cells = wait_for_the_end(page, 400)
    assert_well(lab, cells)
    in_both_themes(lab, page, "05_projection")
    interact(lab, page, 300)
    assert_well(lab, page.evaluate(CELLS))
    page.close()
