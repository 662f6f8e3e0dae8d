"""Runs with and without CLUB: measurements join scores, and relations over runs are honest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from srcid.information.ablation import comparable_runs, compare_settings, measure_run, rank_relation, relate
from srcid.information.estimates import InformationError, Settings


def test_rank_relation_finds_a_monotone_relation_of_any_shape():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20)
    found = rank_relation(x, -np.exp(3 * x), resamples=400)
    assert found.rho.value == pytest.approx(-1) and found.p_value < 0.01 and found.rho.high < -0.8
    assert "opposite directions" in found.finding
    nothing = rank_relation(np.arange(20), np.tile([0, 1, 3, 2], 5), resamples=400)
    assert nothing.rho.low < 0 < nothing.rho.high and nothing.p_value > 0.05
    assert "no clear relation" in nothing.finding
    y = x + rng.standard_normal(20)
    assert rank_relation(x, y, resamples=10).rho.value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_resamples_of_one_run_alone_are_left_out_without_a_warning():
    found = rank_relation([1, 2, 3, 4, 5], [2, 1, 3, 5, 4])  # some draws hold one of the five runs five times
    assert -1 <= found.rho.low < 0.8 <= found.rho.high <= 1


def test_what_groups_differ_in_makes_no_relation():
    group = np.repeat([0, 1], 8)
    x = 10 * group + np.tile([0, 1, 2, 3, 4, 5, 6, 7], 2)
    y = 10 * group + np.tile([3, 0, 6, 5, 1, 7, 2, 4], 2)
    assert rank_relation(x, y, resamples=300).p_value < 0.02
    inside = rank_relation(x, y, groups=group, resamples=300)
    assert inside.p_value > 0.05 and inside.groups == 2 and "within 2 groups" in inside.finding
    assert rank_relation(x, y, groups=[*range(5), *[9] * 11], resamples=50).rho.n == 11


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2, 3], [1, 2, 3], "found 3 runs"),
        ([1, 2, 3, 4, np.nan], [1, 2, 3, 4, 5], "not finite"),
        ([1] * 6, [1, 2, 3, 4, 5, 6], "same in all runs"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4], "one of each"),
    ],
)
def test_relations_of_too_little_are_refused(x, y, message):
    with pytest.raises(InformationError, match=message):
        rank_relation(x, y)


def test_relations_of_columns_or_why_there_is_none():
    frame = pd.DataFrame({"a": range(8), "b": range(8), "short": [1, 2] + [np.nan] * 6})
    found = relate(frame, [("a", "b"), ("a", "short"), ("a", "absent")])
    assert found["a", "b"].rho.value == pytest.approx(1)
    assert "found 2 runs" in found["a", "short"] and "absent" in found["a", "absent"]


def test_settings_of_club_are_compared_by_run():
    params = pd.DataFrame(
        {
            "on": dict(family="f", method="a", codebook_size=4, layers=2, club_off=[], seed=3),
            "off": dict(family="f", method="b", codebook_size=4, layers=2, club_off=[1, 2], seed=3),
            "other": dict(family="g", method="c", codebook_size=4, layers=2, club_off=[], seed=3),
        }
    ).T
    assert comparable_runs(params) == ["on", "off"]
    rows = [
        dict(run="on", representation=r, task="localisation", same=same, score=score)
        for r, same, score in (("all", False, 60.0), ("all", False, 70.0), ("all", True, 99.0), ("only1", False, 1.0))
    ]
    measured = {"off": {"mi/club/1": 2.0}, "on": {"mi/club/1": 1.0}}
    frame = compare_settings(pd.DataFrame(rows), params, measured)
    assert frame["setting"].tolist() == ["on in all layers", "off in both"] and frame.index.tolist() == ["on", "off"]
    assert frame.loc["on", "score/localisation"] == 65.0 and np.isnan(frame.loc["off", "score/localisation"])
    assert frame.loc["off", "mi/club/1"] == 2.0 and frame.loc["on", "seed"] == 3


def test_a_run_is_measured_beside_its_codes(tmp_path):
    from tests.helpers import tiny_store, tiny_table

    store = tiny_store(tmp_path / "store", clips=70, grid=False)
    table = tiny_table(store, tmp_path / "run" / "codes", layers=2)
    settings = Settings(seeds=1, nulls=0, bootstrap=20, steps=10)
    found = measure_run(table.path, 0, 2, "all", settings)
    assert {"mi/infonce/1", "mi/club/2", "code/1"} <= set(found) and np.isfinite(found["mi/infonce/1"])
    assert list((tmp_path / "run" / "information").iterdir())
    assert measure_run(table.path, 0, 2, "all", settings) == found
