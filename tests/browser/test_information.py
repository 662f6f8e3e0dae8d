"""Estimates of mutual information as a person asks for them: question, layer, pair, estimator."""

from __future__ import annotations

import pytest

from tests.browser.steps import CELLS, assert_well, in_both_themes, painted, run_all, wait_for_the_end

pytestmark = pytest.mark.browser

# cheap: the small run has few clips, and its numbers are not what is looked at
QUICK = dict(clips=64, split="all", seeds=1, nulls=1, fit=5)
# the two figures of the browser of estimates: all estimators of a pair, and one of them in full
VIEWS = "[...document.querySelectorAll('.widget-vbox .js-plotly-plot')].slice(-2)"


def choose(page, menu, value):
    page.locator(f'.widget-dropdown:has-text("{menu}") select').last.select_option(value)


def titled(page, words):
    page.wait_for_function(f"words => ({VIEWS})[1].layout.title?.text.includes(words)", arg=words, timeout=20_000)


def test_a_number_is_asked_for_by_layer_pair_and_estimator(inspected):
    lab = inspected.lab
    page = inspected.open("06_club", **QUICK)
    run_all(page)
    cells = wait_for_the_end(page, 400)
    assert_well(lab, cells)
    in_both_themes(lab, page, "06_club")
    titles = painted(page)
    for words in ("CLUB ends at", "shared factors are read from s"):
        assert any(words in title for title in titles), (words, titles)

    page.evaluate(f"() => ({VIEWS})[0].scrollIntoView({{block: 'center'}})")
    choose(page, "question", "within")
    choose(page, "layer", "2")
    choose(page, "pair", "I(z2 video; s2 video)")
    choose(page, "estimator", "infonce")
    titled(page, "I(z2 video; s2 video), infonce")
    drawn = page.evaluate(f"() => ({VIEWS}).map(p => p.querySelectorAll('.cartesianlayer .point').length)")
    assert all(count > 0 for count in drawn), drawn
    page.wait_for_timeout(1000)
    lab.picture(page, "06_club_chosen")

    choose(page, "question", "layers")  # another question offers its own pairs
    titled(page, "I(c1 audio; c2 audio)")
    assert_well(lab, page.evaluate(CELLS))
    page.close()
