"""Brackets: which estimators fit which sides, what they conclude, and when they contradict each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srcid.information.bracket import Certified, bracket, contradiction
from srcid.information.calibration import channel_information, gaussian_pairs
from srcid.information.estimates import InformationError, Settings
from srcid.statistics import Interval
from tests.information.pairs import channel_pairs

SMALL = Settings(seeds=1, nulls=1, bootstrap=40, steps=40)


@pytest.fixture(scope="module")
def good():
    return bracket(*gaussian_pairs(300, 2, 1.0), settings=SMALL)


def moved(estimate, low, high, **changes):
    return replace(estimate, interval=Interval((low + high) / 2, low, high), **changes)


def test_the_sides_choose_the_estimators():
    rng = np.random.default_rng(0)
    features, codes = rng.standard_normal((120, 2, 3)), rng.integers(4, size=(120, 2))
    kinds = {
        (True, True): ("infonce", "ksg", "club"),
        (True, False): ("barber-agakov", "ross", "club-categorical"),
        (False, False): ("barber-agakov", "plug-in", "club-categorical"),
    }
    for (x, y), names in kinds.items():
        found = bracket(features if x else codes, features[::-1] if y else codes[::-1], settings=SMALL)
        assert (found.lower.name, found.independent.name, found.upper.name) == names
        assert len(found.frame()) == len(found.estimates)


def test_features_against_categories_in_either_order():
    rng = np.random.default_rng(2)
    label = rng.integers(4, size=240)
    x = 6 * np.eye(4)[label][:, None] + rng.standard_normal((240, 3, 4))
    there, back = (bracket(*pair, settings=SMALL, names=names) for pair, names in
                   (((x, label), ("x", "l")), ((label, x), ("l", "x"))))  # fmt: skip
    assert there.lower.value == back.lower.value and there.names == back.names == ("x", "l")
    assert there.lower.value > 1.2 and there.independent.value == pytest.approx(np.log(4), abs=0.2)
    assert there.certified.nats == pytest.approx(np.log(4)) and there.shares


@pytest.mark.parametrize("error", [0.75, 0.25])
def test_brackets_of_codes_hold_the_truth(error):
    found, truth = bracket(*channel_pairs(400, 4, error, steps=2), settings=SMALL), channel_information(4, error)
    assert not found.contradiction and found.lower.interval.low <= truth + 0.1
    assert found.independent.value == pytest.approx(truth, abs=0.15)


def test_a_variable_of_four_values_shares_at_most_their_entropy_with_itself():
    x = np.random.default_rng(0).integers(4, size=(300, 1, 1)).astype(float)
    found = bracket(x, x, settings=SMALL)
    assert found.independent.name == "plug-in" and 1.3 < found.independent.value <= np.log(4) + 1e-9
    assert found.upper.value == np.inf and found.most[0] == pytest.approx(np.log(4))


def test_few_values_are_counted_by_their_numbers_instead_of_distances():
    rng = np.random.default_rng(0)
    code = rng.integers(4, size=(160, 2))
    x = rng.standard_normal((4, 3))[code]  # quantised: four vectors
    y = 4 * np.eye(4)[code] + rng.standard_normal((160, 2, 4))
    found = bracket(x, y, settings=SMALL)
    assert found.independent.name == "ross" and found.independent.value == pytest.approx(np.log(4), abs=0.25)


def test_equal_features_are_called_unbounded():
    x = np.random.default_rng(0).standard_normal((160, 1, 3))
    found = bracket(x, x, settings=SMALL)
    assert "unbounded" in found.finding and found.most[0] == np.inf and not found.contradiction


def test_a_finding_says_at_least_and_at_most(good):
    assert good.shares and f"at least {good.lower.interval.low:.2f} nats" in good.finding
    assert f"at most {good.upper.interval.high:.2f}" in good.finding and "as far as its q is right" in good.finding
    bounded = good.certify(Certified(3.0, "a rate"), Certified(2.0, "another"), None)
    assert bounded.certified.nats == 2.0 and "at most 2.00 (certified by another)" in bounded.finding
    none = bracket(*np.random.default_rng(0).standard_normal((2, 160, 1, 2)), settings=SMALL)
    assert not none.shares and "nothing above the null" in none.finding


def test_contradicting_bounds_come_with_a_reason(good):
    assert good.contradiction == ""
    for detail, why in (
        ({"skill": 0.05}, "explains 0.05 nats"), ({"residual": 3.0}, "overconfident"), ({"saturated": 0.5}, "saturated")
    ):  # fmt: skip
        low = moved(good.upper, 0.0, 0.2, detail=good.upper.detail | detail)
        found = contradiction(good.lower, good.independent, low)
        assert found.startswith("lower above upper bound") and why in found
    assert "below 0" in contradiction(
        moved(good.lower, -2, -1), moved(good.independent, -2, -1), moved(good.upper, -2, -1)
    )


def test_bias_of_rare_counts_is_no_contradiction():
    """Codes of no dependence: counts find some all the same, and as much on permuted clips."""
    biased = bracket(*channel_pairs(80, 30, 29 / 30, steps=2), settings=SMALL.model_copy(update=dict(nulls=3)))
    middle = moved(biased.independent, 0.9, 1.1, null=(1.0, 1.05, 0.95))
    upper = moved(biased.upper, 0.0, 0.2)
    lower = moved(biased.lower, -0.5, 0.0)
    assert contradiction(lower, middle, upper) == ""
    assert "plug-in above the upper bound" in contradiction(lower, moved(middle, 2.9, 3.1), upper)


def test_too_few_clips_are_refused_before_any_work():
    with pytest.raises(InformationError, match="20 clips, too few"):
        bracket(*gaussian_pairs(20, 2, 1.0), settings=SMALL)
