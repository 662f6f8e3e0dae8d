"""The codebook as a person looks at it: figures, a slider, a click in the map of codes, and the card that follows."""

from __future__ import annotations

import re

import pytest

from tests.browser.steps import CELLS, assert_well, at_rest, in_both_themes, painted, run_all, until, wait_for_the_end

pytestmark = pytest.mark.browser

# pixels of a column of the map of codes, whose title says "codes in use", in the page
_COLUMN = """place => {
    const plot = [...document.querySelectorAll('.js-plotly-plot')]
        .filter(p => p.data.some(t => t.type === 'heatmap') && /codes in use/.test(p.layout.title.text))[0];
    const box = plot.querySelector('.nsewdrag').getBoundingClientRect();
    return [box.x + plot._fullLayout.xaxis.d2p(place), box.y + box.height / 2];
}"""


def chosen(page):
    """Number of the code that the browser says is chosen."""
    return int(re.search(r"code (\d+)", page.locator("b:has-text('code ')").first.inner_text())[1])


def wait_for_another(page, code):
    page.wait_for_function(
        """code => [...document.querySelectorAll('b')].map(b => b.textContent.match(/^code (\\d+)$/))
            .find(found => found)[1] != code""",
        arg=code,
        timeout=30_000,
    )
    return chosen(page)


def wait_for_the_card(page, code):
    """Wait until the explorer's headline is about this code."""
    page.locator(".widget-html", has_text=re.compile(rf"^\s*Layer 1, code {code}\b")).first.wait_for(timeout=30_000)


def test_codes_are_looked_at_chosen_and_followed(inspected):
    lab = inspected.lab
    page = inspected.open("04_codebook")
    run_all(page)
    cells = wait_for_the_end(page, 240)
    assert_well(lab, cells)
    titles = painted(page)
    for words in ("perplexity", "belong to one modality", "the same code",
                  "equal codes", "on average", "adds, in bits", "codes in use"):  # fmt: skip
        assert any(words in title for title in titles), (words, titles)
    lab.whole(page, "04_codebook")

    slider = page.locator(".widget-slider .noUi-handle").first
    slider.scroll_into_view_if_needed()
    first = chosen(page)
    slider.focus()
    at_the_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    page.keyboard.press("ArrowLeft" if at_the_end else "ArrowRight")
    slid = wait_for_another(page, first)
    wait_for_the_card(page, slid)

    column = 2 if slider.get_attribute("aria-valuenow") == "1.0" else 1
    x, y = at_rest(page, lambda: until(page, _COLUMN, column))
    page.mouse.move(x, y)
    page.mouse.click(x, y)
    wait_for_the_card(page, wait_for_another(page, slid))
    lab.picture(page, "04_codebook_clicked")
    assert_well(lab, page.evaluate(CELLS))
    in_both_themes(lab, page, "04_codebook_chosen")
    page.close()
