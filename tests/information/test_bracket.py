"""Estimates of information: exactness, invariance, honesty against known truth, and clear refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from srcid.information import bracket as information
from srcid.information import conditional
from srcid.information.bracket import InformationError, Settings, bracket, club, ksg, plugin
from srcid.information.calibration import calibrate, channel_pairs, club_limit, gaussian_pairs
from srcid.information.clips import Scaler, read_pair, split_clips
from srcid.information.counts import entropy
from srcid.information.leakage import leakage
from srcid.information.neighbours import ksg_category_terms, ksg_terms
from tests.helpers import reference

SMALL = Settings(seeds=2, nulls=2, bootstrap=60, hidden=16, steps=120, check=20, patience=3, batch=64)


def fitted(x, y, settings=SMALL, **changes):
    settings = replace(settings, **changes)
    x, y, mask = read_pair(x, y)
    parts = split_clips(len(mask), settings.split, np.random.default_rng(0))
    return conditional.fit_club(x, y, mask, parts["fit"], parts["stop"], settings, seed=0)


# the bounds are what they are said to be


@pytest.mark.parametrize("shape", [(60, 1, 3, 3), (54, 4, 5, 2), (70, 3, 1, 7)])
@pytest.mark.parametrize("q", ["network", "linear"])
@pytest.mark.parametrize("holes", [False, True])
def test_exact_and_leave_one_out_equal_explicit_sums_over_all_pairs(shape, q, holes):
    n, steps, dx, dy = shape
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((n, steps, dx)), rng.standard_normal((n, steps, dy))
    model = fitted(x, y, q=q)
    mask = rng.random((n, steps)) > 0.3 if holes else np.ones((n, steps), dtype=bool)
    mu, logvar = (z.numpy() for z in model.gaussian(x))
    z = model.scale_y.apply(y)
    log_q = -0.5 * ((z[None] - mu[:, None]) ** 2 * np.exp(-logvar[:, None]) + logvar[:, None]).sum(-1)  # [i, j, T]
    exact, left_out = [], []
    for t in range(steps):
        rows = np.flatnonzero(mask[:, t])
        table = log_q[np.ix_(rows, rows)][..., t]
        exact += list(np.diag(table) - table.mean(axis=1))
        others = np.where(np.eye(len(rows), dtype=bool), 0, np.exp(table))
        left_out += list(np.diag(table) - np.log(others.sum(axis=0) / (len(rows) - 1)))
    assert model.estimate(x, y, mask) == pytest.approx(np.mean(exact), rel=1e-10, abs=1e-10)
    assert model.estimate(x, y, mask, "leave-one-out") == pytest.approx(np.mean(left_out), rel=1e-10, abs=1e-10)


def test_published_estimate_reproduces_the_reference_vectors():
    golden = reference("club_b7_t5")

    class Given(conditional.Read):
        def _draw_permutation(self, clips, generator):
            return torch.from_numpy(golden["permutation"])

    known = torch.from_numpy(np.concatenate([golden["mu"], golden["logvar"]], axis=-1))
    found = Given().estimate(known, torch.from_numpy(golden["y"]), None, estimator="published")
    assert float(found) == pytest.approx(float(golden["mi_est"]), abs=1e-10)


def test_sampled_scatters_around_exact():
    x, y = gaussian_pairs(300, 4, 1.0)
    results = club(x, y, settings=replace(SMALL, bootstrap=200, nulls=0, seeds=4))
    low, high = results["sampled"].interval
    assert low < results["exact"].value < high
    assert results["sampled"].value != results["exact"].value


def test_bounds_hold_on_a_calibrated_case_and_clubs_looseness_is_the_predicted_one():
    x, y = gaussian_pairs(600, 4, 1.5)
    found = bracket(x, y, settings=replace(SMALL, nulls=0)).estimates
    assert found["infonce"].interval[0] <= 1.5
    assert found["infonce"].value > 1.0
    for name in ("club-exact", "club-sampled", "leave-one-out"):
        assert found[name].interval[1] >= 1.5, name
    low, high = found["club-exact"].interval
    assert low <= club_limit(4, 1.5) <= high
    assert found["leave-one-out"].value < found["club-exact"].value


def test_independent_pairs_give_intervals_around_zero():
    rng = np.random.default_rng(6)
    result = bracket(rng.standard_normal((300, 2, 3)), rng.standard_normal((300, 2, 4)), settings=SMALL)
    assert len(result.estimates) == 7
    for name, e in result.estimates.items():
        assert e.interval[0] - 0.01 <= 0 <= e.interval[1] + 0.01, name
        assert e.null.shape == (2,) and np.abs(e.null).max() < 0.2
    assert result.consistent and "nothing stands out" in result.verdict


def test_a_nonlinear_dependence_is_found_by_the_network_but_not_by_the_ridge():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 1, 1))
    y = np.abs(x) + 0.2 * rng.standard_normal(x.shape)
    settings = replace(SMALL, hidden=64, steps=600, patience=10, nulls=0)
    best, line = (club(x, y, settings=replace(settings, q=q))["exact"] for q in ("best", "linear"))
    assert best.detail["linear"] == 0 and line.detail["linear"] == 1
    assert best.interval[0] > 0.5 > line.interval[1]


# nothing changes what should change nothing


def test_order_of_clips_and_chunks_change_nothing():
    x, y = gaussian_pairs(120, 3, 1.0, steps=2)
    mask = np.random.default_rng(0).random((120, 2)) > 0.1
    order = np.random.default_rng(1).permutation(120)
    settings = replace(SMALL, seeds=1, nulls=1, bootstrap=20, steps=60)
    first = bracket(x, y, mask, settings)
    shuffled = bracket(x[order], y[order], mask[order], settings)
    chunked = bracket(x, y, mask, replace(settings, chunk=7))
    assert set(first.estimates) == set(shuffled.estimates)
    for name, e in first.estimates.items():
        assert (shuffled.estimates[name].value, shuffled.estimates[name].interval) == (e.value, e.interval), name
        assert chunked.estimates[name].value == pytest.approx(e.value, rel=1e-9, abs=1e-9), name


def test_masked_steps_are_not_read_and_units_do_not_matter():
    x, y = gaussian_pairs(120, 3, 1.0, steps=2)
    mask = np.random.default_rng(0).random((120, 2)) > 0.2
    dirty = np.where(mask[..., None], x, np.nan)
    assert ksg(dirty, y, mask, SMALL).value == ksg(x, y, mask, SMALL).value
    assert ksg(x * 1000 + 5, y, settings=SMALL).value == pytest.approx(ksg(x, y, settings=SMALL).value, abs=1e-6)


def test_steps_of_one_clip_never_serve_two_purposes():
    """Constant clips make steps copies of each other; with clips split, there is still nothing to find."""
    rng = np.random.default_rng(3)
    x = np.repeat(rng.standard_normal((200, 1, 3)), 8, axis=1)
    y = np.repeat(rng.standard_normal((200, 1, 3)), 8, axis=1)
    result = bracket(x, y, settings=replace(SMALL, nulls=0))
    assert result.upper.value < 0.1 and result.lower.value < 0.1 and result.independent.interval[0] < 0.1


def test_the_same_seed_gives_the_same_and_global_randomness_is_left_alone():
    x, y = gaussian_pairs(80, 2, 1.0)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = club(x, y, settings=SMALL)["sampled"]
    assert torch.equal(before, torch.random.get_rng_state())
    again = club(x, y, settings=SMALL)["sampled"]
    assert (first.value, first.interval) == (again.value, again.interval)
    assert club(x, y, settings=replace(SMALL, seed=9))["sampled"].value != first.value


# nearest neighbours and counts


def test_ksg_and_ross_find_known_values():
    x, y = gaussian_pairs(1500, 1, 0.8)
    assert ksg_terms(x[:, 0], y[:, 0], 4).mean() == pytest.approx(0.8, abs=0.1)
    rng = np.random.default_rng(0)
    category = rng.integers(3, size=1500)
    apart = category[:, None] * 10 + rng.random((1500, 1))
    assert ksg_category_terms(apart, category, 4).mean() == pytest.approx(np.log(3), abs=0.02)
    assert ksg_category_terms(rng.random((1500, 1)), category, 4).mean() == pytest.approx(0, abs=0.05)


def test_ksg_says_how_little_its_components_hold():
    x, y = gaussian_pairs(200, 20, 2.0)
    found = ksg(x, y, settings=SMALL)
    assert found.detail["explained_x"] < 0.5
    assert any("3 components hold" in flag for flag in found.flags)


def test_entropy_corrections_reduce_the_bias_of_few_counts():
    rng = np.random.default_rng(0)
    truth, errors = np.log(50), {}
    for correction in ("none", "miller-madow", "grassberger"):
        found = [entropy(np.bincount(rng.integers(50, size=60)), correction) for _ in range(200)]
        errors[correction] = abs(np.mean(found) - truth)
    assert errors["grassberger"] < errors["miller-madow"] < errors["none"]
    assert entropy(np.array([7, 7]), "none") == pytest.approx(np.log(2))


@pytest.mark.parametrize("nats", [0.0, 1.0])
def test_code_brackets_hold_the_truth(nats):
    x, y = channel_pairs(300, 6, nats, steps=4)
    result = bracket(x, y, settings=SMALL)
    assert result.consistent
    assert result.lower.interval[0] <= nats <= result.upper.interval[1] + 0.01
    assert result.independent.value == pytest.approx(nats, abs=0.08)
    assert result.independent.name == "plug-in"


def test_too_few_counts_are_flagged():
    x, y = channel_pairs(60, 40, 0.0, steps=2)
    assert any("too few counts" in flag for flag in plugin(x, y, settings=SMALL).flags)


def test_features_against_categories_in_either_order():
    rng = np.random.default_rng(2)
    label = rng.integers(4, size=240)
    x = 6 * np.eye(4)[label][:, None] + rng.standard_normal((240, 3, 4))
    there, back = bracket(x, label, settings=SMALL), bracket(label, x, settings=SMALL)
    assert there.lower.value == back.lower.value
    assert there.lower.interval[0] <= np.log(4) and there.lower.value > 1.2
    assert there.independent.value == pytest.approx(np.log(4), abs=0.15)
    assert there.independent.above_null


# the bracket knows when it is broken


def test_a_saturated_variance_head_is_reported_and_named():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 1, 2))
    y = x + 0.01 * rng.standard_normal(x.shape)
    settings = replace(SMALL, q="network", logvar="tanh", hidden=32, lr=1e-2, steps=300, patience=10, nulls=0)
    settings = replace(settings, seeds=1, bootstrap=20)
    published = club(x, y, settings=settings)["exact"]
    assert published.detail["saturated"] > 0.5
    assert any("sit at the edge" in flag for flag in published.flags)
    assert club(x, y, settings=replace(settings, logvar="free"))["exact"].detail["saturated"] == 0


def test_contradicting_bounds_are_called_inconsistent_with_a_reason():
    x, y = gaussian_pairs(150, 2, 1.0)
    good = bracket(x, y, settings=replace(SMALL, seeds=1, nulls=0))
    assert good.consistent
    low = replace(good.upper, value=0.1, interval=(0.0, 0.2), detail=good.upper.detail | {"skill": 0.05})
    for detail, reason in (
        ({"skill": 0.05}, "does not describe y"),
        ({"residual": 3.0}, "overconfident"),
        ({"saturated": 0.5}, "saturated"),
    ):
        broken = replace(low, detail=good.upper.detail | detail)
        consistent, verdict = information.judge(good.lower, good.independent, broken)
        assert not consistent and reason in verdict and "lower above upper" in verdict


def test_bias_of_rare_counts_is_no_contradiction():
    """Codes of no dependence: counts find some all the same, and as much on permuted clips."""
    x, y = channel_pairs(80, 30, 0.0, steps=2)
    settings = replace(SMALL, nulls=3)
    biased = bracket(x, y, settings=settings)
    assert biased.independent.value > biased.upper.interval[1] and biased.consistent
    low, high = biased.lower, biased.upper
    real = replace(biased.independent, value=3.0, interval=(2.9, 3.1))
    consistent, verdict = information.judge(low, real, high)
    assert not consistent and "plug-in above the upper bound" in verdict


def test_few_values_are_counted_by_their_numbers_instead_of_distances():
    rng = np.random.default_rng(0)
    code = rng.integers(4, size=(160, 2))
    x = rng.standard_normal((4, 3))[code]  # quantised: four vectors
    y = 4 * np.eye(4)[code] + rng.standard_normal((160, 2, 4))
    found = bracket(x, y, settings=SMALL, codes=code)
    assert found.independent.name == "ross" and "ksg-pca" not in found.estimates
    assert found.independent.value == pytest.approx(np.log(4), abs=0.2) and found.lower.value > 0.7
    assert found.lower.value == bracket(x, y, settings=SMALL).lower.value


def test_the_cap_of_infonce_is_respected_and_flagged():
    x, y = gaussian_pairs(160, 2, 8.0)
    found = information.infonce(x, y, settings=replace(SMALL, nulls=0))
    assert found.cap == pytest.approx(np.log(40))
    assert found.value <= found.cap
    assert any("near its cap" in flag for flag in found.flags)


def test_curves_are_kept_and_permuted_clips_lose_the_dependence():
    x, y = gaussian_pairs(200, 2, 1.5)
    found = club(x, y, settings=SMALL)["exact"]
    assert len(found.curves) == SMALL.seeds and found.curves[0].shape[1] == 3
    assert found.curves[0][-1, 2] > found.curves[0][0, 2]
    assert found.above_null and np.abs(found.null).max() < 0.3 * found.value


def test_principal_components_are_reported():
    x, y = gaussian_pairs(150, 12, 3.0)
    found = club(x, y, settings=replace(SMALL, components=4, nulls=0))["exact"]
    assert 0.3 < found.detail["explained_x"] < 0.8
    assert any("principal components" in flag for flag in found.flags)


# calibration


def test_calibration_tells_sound_from_unsound_ranges():
    settings = replace(SMALL, seeds=1, bootstrap=40, q="linear", steps=40)
    table = calibrate(dims=(2, 48), strengths=(0.0, 1.0), clips=160, settings=settings)
    assert len(table.truth) == 2 * 2 * 7
    assert table.summary()["infonce"]["coverage"] == 1.0
    np.testing.assert_allclose(table.bias, table.estimate - table.truth)
    assert table.tested_range("club-exact", 2) > 1.0
    assert not table.tested_range("leave-one-out", 48) > 0.5  # with so few clips q finds nothing in 48 dimensions
    x, y = gaussian_pairs(160, 2, 0.5)
    inside = bracket(x, y, settings=settings, calibration=table)
    assert not any("tested range" in flag for flag in inside.upper.flags)
    for data, reason in (
        (gaussian_pairs(160, 60, 0.5), "60 dimensions"),
        (gaussian_pairs(160, 2, 6.0), "sound up to"),
        (gaussian_pairs(100, 2, 0.5), "100 clips"),
    ):
        outside = bracket(*data, settings=settings, calibration=table)
        assert any("outside the tested range" in f and reason in f for f in outside.upper.flags), reason


def test_marking_a_bracket_says_so_in_its_verdict():
    settings = replace(SMALL, seeds=1, bootstrap=20, q="linear", steps=40)
    table = calibrate(dims=(2,), strengths=(0.0, 1.0), clips=100, settings=settings)
    assert table.tested_range("infonce", 2) == np.inf  # a lower bound that passed can only be too low
    plain = bracket(*gaussian_pairs(100, 2, 6.0), settings=settings)
    marked = plain.marked(table)
    assert marked.upper.outside_range and not plain.upper.outside_range and not marked.lower.outside_range
    assert "outside the calibrated range" in marked.verdict and "club-exact" in marked.verdict.split(": ")[-1]
    assert marked.upper.value == plain.upper.value and marked.estimates["club-exact"] is marked.upper


def test_known_pairs_have_the_information_they_claim():
    x, y = gaussian_pairs(4000, 2, 1.0, seed=1)
    joint = np.cov(np.hstack([x[:, 0], y[:, 0]]).T)
    found = 0.5 * np.log(np.linalg.det(joint[:2, :2]) * np.linalg.det(joint[2:, 2:]) / np.linalg.det(joint))
    assert found == pytest.approx(1.0, abs=0.05)
    a, b = channel_pairs(4000, 5, 0.7, steps=2)
    assert plugin(a, b, settings=replace(SMALL, nulls=0)).value == pytest.approx(0.7, abs=0.05)
    with pytest.raises(InformationError, match="cannot share"):
        channel_pairs(10, 4, 2.0)


# leakage


def test_leakage_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    label = rng.integers(4, size=240)
    x = rng.standard_normal((240, 5, 8))
    x[:, :, :4] += 1.5 * np.eye(4)[label][:, None]
    there = leakage(x, label, settings=SMALL, factor="speaker")
    assert there.leaks and there.score > 0.9 and 0.15 < there.chance < 0.35 and 0.8 < there.nats < np.log(4) + 0.1
    absent = leakage(x, rng.integers(4, size=240), settings=SMALL)
    assert not absent.leaks and absent.nats < 0.1
    tone = leakage(x, (label[:, None] * 1.0) + 0.1 * rng.standard_normal((240, 1)), settings=SMALL)
    assert tone.metric == "r2" and tone.leaks and tone.score > 0.7


def test_balanced_score_is_not_fooled_by_background():
    rng = np.random.default_rng(0)
    event = rng.random((200, 4, 2)) < 0.04
    x = rng.standard_normal((200, 4, 6))
    plain, fair = (leakage(x, event, settings=SMALL, balanced=b) for b in (False, True))
    assert plain.score > 0.8 and plain.chance > 0.8 and not plain.leaks
    assert fair.chance <= 0.5 and fair.score < 0.6


# refusals


def test_bad_input_is_refused_with_a_way_out():
    x, y = gaussian_pairs(100, 3, 1.0, steps=2)
    flat = x.copy()
    flat[..., 1] = 4
    hole = x.copy()
    hole[3, 1, 2] = np.inf
    cases = [
        ((x[:20], y[:20]), "20 clips, too few for the split .* need about"),
        ((x, y[:90]), "100 clips and y 90"),
        ((x, np.concatenate([y, y], axis=1)), "2 steps and y 4"),
        ((flat, y), r"x: 1 of 3 columns are constant \(1\)"),
        ((x * 0, y), "x is constant over all clips"),
        ((hole, y), r"x: 1 values are not finite, the first at \[3, 1, 2\]"),
        ((x, y, np.ones((100, 3), dtype=bool)), r"mask: found bool \[100, 3\], need bool \[100, 2\]"),
        ((x[:, 0, 0], y), r"x: found shape \[100\], need \[n,T,d\]"),
        ((x.astype(complex), y), "x: found dtype complex"),
    ]
    for arguments, message in cases:
        with pytest.raises(InformationError, match=message):
            bracket(*arguments, settings=SMALL)
    with pytest.raises(InformationError, match=r"x is constant(.|\n)*y is constant"):
        bracket(x * 0, y * 0, settings=SMALL)  # both problems at once
    assert "1 constant columns of x were dropped" in ksg(flat, y, settings=replace(SMALL, constant="drop")).flags


def test_other_dimensions_at_evaluation_are_refused():
    x, y = gaussian_pairs(80, 3, 1.0)
    model = fitted(x, y)
    with pytest.raises(InformationError, match="x: found 2 columns, the estimator was fitted on 3"):
        model.estimate(x[..., :2], y)
    with pytest.raises(InformationError, match="y: found 4 columns, the estimator was fitted on 3"):
        model.estimate(x, np.concatenate([y, y[..., :1]], axis=-1))
    with pytest.raises(InformationError, match="estimator 'exakt' is unknown"):
        model.estimate(x, y, estimator="exakt")


def test_settings_report_all_problems_at_once():
    with pytest.raises(InformationError, match=r"seeds=0(.|\n)*logvar='wide'(.|\n)*split="):
        Settings(seeds=0, logvar="wide", split=(0.5, 0.5, 0.5))
    with pytest.raises(InformationError, match="need integers on both sides"):
        plugin(*gaussian_pairs(80, 2, 1.0))
    with pytest.raises(InformationError, match="needs floating features on both sides"):
        club(*channel_pairs(80, 4, 0.5))


def test_scaler_keeps_the_units_of_columns_that_rest_in_the_fitting_clips():
    values = np.zeros((4, 1, 2))
    values[:, 0, 0] = [1, 2, 3, 4]
    scaled = Scaler.learn(values, np.ones((4, 1), dtype=bool)).apply(np.array([[[2.5, 3.0]]]))
    np.testing.assert_allclose(scaled, [[[0, 3.0]]])
