"""The browser of estimates offers what was measured and shows what was chosen."""

import numpy as np
import pytest

from srcid.information.bracket import bracket
from srcid.information.browser import InformationBrowser
from srcid.information.calibration import gaussian_pairs
from srcid.information.disentanglement import Measurements
from srcid.information.estimates import Settings
from srcid.information.figures.brackets import estimate_card
from srcid.information.questions import Comparison, Sample, Variable
from tests.information.pairs import channel_pairs

SMALL = Settings(seeds=1, nulls=1, bootstrap=20, steps=20)


@pytest.fixture(scope="module")
def measured():
    places = [(1, "first"), (1, "second"), (2, "first")]
    within = {
        Comparison("within", Variable("general", k, m), Variable("specific", k, m)): bracket(
            *gaussian_pairs(80, 2, 1.0, seed=seed), settings=SMALL
        )
        for seed, (k, m) in enumerate(places)
    }
    pair = Comparison("layers", Variable("codes", 1, "first"), Variable("codes", 2, "first"))
    layers = {pair: bracket(*channel_pairs(80, 4, 0.5), settings=SMALL)}
    return [Measurements(found, {}, Sample(np.arange(80), np.arange(1), "test"), SMALL) for found in (within, layers)]


def test_choices_follow_each_other_and_the_views_follow_the_choice(measured):
    browser = InformationBrowser(*measured, modalities=("first", "second"))
    assert browser.question.options == ("within", "layers") and browser.layer.options == (1, 2)
    assert [str(p) for _, p in browser.pair.options] == ["I(z1 first; s1 first)", "I(z1 second; s1 second)"]
    browser.estimator.value = "infonce"
    assert "I(z1 first; s1 first), infonce" in browser.card.layout.title.text
    browser.layer.value = 2
    assert str(browser.pair.value) == "I(z2 first; s2 first)" and browser.estimator.value == "infonce"
    found = measured[0].brackets[browser.pair.value].estimates["infonce"]
    expected = estimate_card(browser.pair.value, measured[0].brackets[browser.pair.value], "infonce")
    assert (
        browser.card.layout.title.text == expected.layout.title.text
        and f"{found.value:.2f}" in expected.layout.title.text
    )
    np.testing.assert_allclose(np.sinh(browser.card.data[0].x), found.by_seed)
    browser.question.value = "layers"
    assert str(browser.pair.value) == "I(c1 first; c2 first)"
    assert browser.estimator.value in measured[1].brackets[browser.pair.value].estimates
    assert "I(c1 first; c2 first)" in browser.card.layout.title.text
    assert browser.bracket.layout.yaxis.ticktext == ("<span style='color:#0072B2'>■</span> I(c1 first; c2 first)",)
    browser.question.value = "within"
    assert str(browser.pair.value).startswith("I(z") and browser.guard.message.value == ""


def test_a_browser_of_nothing_is_refused():
    with pytest.raises(ValueError, match="found no measured pair"):
        InformationBrowser(modalities=("first",))
