"""Pairs of known information, and what the estimators' calibration concludes from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from srcid.information.bracket import bracket
from srcid.information.calibration import (
    Calibration,
    Case,
    Known,
    calibrate,
    cells,
    channel_information,
    closed_forms,
    gaussian_pairs,
    same_class,
    student_information,
    student_pairs,
)
from srcid.information.estimates import Estimate, InformationError, Settings
from srcid.statistics import Interval

SMALL = Settings(seeds=1, nulls=0, bootstrap=40, steps=40)


def test_cells_are_equal_in_size_and_determined_by_the_features():
    features = np.random.default_rng(0).standard_normal((203, 5))
    found = cells(features, 8)
    assert np.bincount(found[found >= 0]).tolist() == [25] * 8 and (found < 0).sum() == 3
    again = cells(features, 8)
    np.testing.assert_array_equal(found, again)
    low = cells(features[:, :1], 2)[:200]
    values = features[:200, 0]
    assert max(values[low == 0].max(), values[low == 1].max()) > 0  # one half above the median, one below
    assert min(values[low == 0].max(), values[low == 1].max()) <= max(values[low == 0].min(), values[low == 1].min())


def test_same_class_pairs_share_what_passes_the_channel():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((800, 1, 3)), rng.standard_normal((800, 1, 4))
    for pair, (classes, error) in zip(same_class("own", x, y), ((2, 0.5), (16, 0.5), (16, 0.0)), strict=False):
        mine, theirs = cells(x[:, 0], classes), cells(y[:, 0], classes)
        number = {row.tobytes(): c for row, c in zip(x[:, 0], mine, strict=True)}
        other = {row.tobytes(): c for row, c in zip(y[:, 0], theirs, strict=True)}
        a = np.array([number[row.tobytes()] for row in pair.x[:, 0]])
        b = np.array([other[row.tobytes()] for row in pair.y[:, 0]])
        assert (a == b).mean() == pytest.approx(1 - error, abs=0.08)
        assert pair.truth == channel_information(classes, error)
        assert len(np.unique(pair.x[:, 0], axis=0)) == len(pair.x)  # each clip's x once
        if not error:
            assert len(np.unique(pair.y[:, 0], axis=0)) == len(pair.y)
    assert channel_information(2, 0.5) == pytest.approx(0) and channel_information(8, 0) == pytest.approx(np.log(8))


def test_without_y_the_class_is_the_other_side():
    x = np.random.default_rng(0).standard_normal((160, 2, 3))
    pair = list(same_class("codes", x, cases=((4, 0.0), (64, 0.0))))
    assert len(pair) == 1  # 64 classes of 160 clips are too many
    assert pair[0].y.shape == (160, 2) and pair[0].x.shape == (160, 2, 3)
    assert np.bincount(pair[0].y[:, 1]).tolist() == [40] * 4


def test_closed_forms_are_right():
    x, y = gaussian_pairs(4000, 2, 1.0, seed=1)
    joint = np.cov(np.hstack([x[:, 0], y[:, 0]]).T)
    found = 0.5 * np.log(np.linalg.det(joint[:2, :2]) * np.linalg.det(joint[2:, 2:]) / np.linalg.det(joint))
    assert found == pytest.approx(1.0, abs=0.1)
    sparse = np.corrcoef(*(np.moveaxis(z[:, 0], -1, 0)[:1] for z in gaussian_pairs(4000, 9, 1.0, active=2)))
    assert sparse[0, 1] == pytest.approx(np.sqrt(1 - np.exp(-1)), abs=0.05)
    spread = np.array([[1, 0.6], [0.6, 1]])
    drawn = stats.multivariate_t(np.zeros(2), spread, df=3).rvs(100_000, random_state=0)
    ratio = stats.multivariate_t(np.zeros(2), spread, df=3).logpdf(drawn) - stats.t(3).logpdf(drawn).sum(axis=1)
    assert student_information(1, 3.0, -0.5 * np.log(1 - 0.36)) == pytest.approx(ratio.mean(), abs=0.02)
    x, y = student_pairs(4000, 1, 3.0)
    assert stats.spearmanr(np.abs(x).ravel(), np.abs(y).ravel()).statistic > 0.1  # uncorrelated, but large together
    assert len(list(closed_forms(60, 4))) == 12


def case(kind, truth, value, width=0.1, name="one", panel="p"):
    interval = Interval(value, value - width, value + width)
    return Case(panel, truth, Estimate(name, kind, interval, (value,), (), (2, 2), SMALL))


def test_a_bound_passes_on_its_side_of_the_truth_and_an_estimate_near_it():
    assert case("lower", 2.0, 0.3).passed and not case("lower", 2.0, 2.7).passed
    assert case("upper", 2.0, 9.0).passed and not case("upper", 2.0, 1.2).passed
    assert case("estimate", 2.0, 2.4).passed and not case("estimate", 2.0, 1.2).passed


def test_the_limit_is_where_the_first_weaker_case_failed():
    upper = [case("upper", t, v, name="club") for t, v in ((0.0, 0.1), (1.0, 1.4), (3.0, 1.0), (5.0, 9.0))]
    lower = [case("lower", t, v, name="infonce") for t, v in ((0.0, 0.0), (1.0, 0.4))]
    found = Calibration((*upper[::-1], *lower, case("upper", 0.0, -2.0, name="bad")), 100, SMALL)
    assert found.limit("p", "club") == pytest.approx(1.5) and found.limit("p", "infonce") == np.inf
    assert np.isnan(found.limit("p", "bad")) and np.isnan(found.limit("elsewhere", "club"))
    assert found.share("lower").n == 2 and found.share("upper").value == pytest.approx(3 / 5)
    assert "100% of 2 lower bounds" in found.finding
    assert set(found.frame()["passed"]) == {True, False}


def test_brackets_are_marked_by_their_own_panel():
    known = [Known("own", nats, *gaussian_pairs(100, 2, nats)) for nats in (0.0, 0.5)]
    table = calibrate(known, SMALL)
    weak, strong = (bracket(*gaussian_pairs(100, 2, nats), settings=SMALL) for nats in (0.1, 6.0))
    assert table.limit("own", "infonce") == np.inf
    marked = table.mark("own", strong)
    assert "outside its calibrated range" in marked.upper.unreliable and not marked.lower.unreliable
    assert "no reliable upper bound" in marked.finding and marked.most[0] == np.inf
    assert not table.mark("own", weak).lower.unreliable
    assert table.mark("other", weak).upper.unreliable == "not calibrated"
    with pytest.raises(InformationError, match="no pair of known information"):
        calibrate([], SMALL)


def test_with_few_clips_upper_bounds_are_unsound_in_many_dimensions_and_lower_bounds_are_not():
    known = [Known(str(dim), nats, *gaussian_pairs(160, dim, nats)) for dim in (2, 48) for nats in (0.0, 3.0)]
    table = calibrate(known, SMALL)
    assert all(c.passed for c in table.cases if c.estimate.kind == "lower")
    assert table.limit("2", "club") > 2.5  # CLUB is loose, not low
    assert not table.limit("48", "leave-one-out") > 2.0  # with so few clips q finds nothing in 48 dimensions
