"""Estimators of information: exactness, invariance, honesty against known truth, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif

from srcid.information import bounds, counts
from srcid.information.bounds import Gaussian, contrast, feature_bounds, fit_ridge
from srcid.information.calibration import channel_information, gaussian_pairs
from srcid.information.counts import corrected_entropy, plugin
from srcid.information.estimates import InformationError, Settings, as_categories, read_pair, split_clips
from srcid.information.leakage import leakage
from srcid.information.neighbours import category_terms, ksg_terms, nearest_neighbours
from tests.information.pairs import channel_pairs, cluster_pairs

SMALL = Settings(seeds=2, nulls=2, bootstrap=60, steps=60)
PLAIN = SMALL.model_copy(update=dict(nulls=0))


def read(function, x, y, mask=None, settings=PLAIN):
    return function(*read_pair(x, y, mask), settings)


# the bounds are what they are said to be


@pytest.mark.parametrize("shape", [(60, 1, 3, 3), (54, 4, 5, 2)])
@pytest.mark.parametrize("holes", [False, True])
def test_club_and_leave_one_out_equal_explicit_sums_over_all_pairs(shape, holes):
    n, steps, dx, dy = shape
    rng = np.random.default_rng(1)
    x, z = rng.standard_normal((n, steps, dx)), rng.standard_normal((n, steps, dy))
    weight, logvar = rng.standard_normal((dx, dy)), 0.3 * rng.standard_normal((n, steps, dy))
    q = Gaussian(lambda rows: (rows @ weight, logvar[: len(rows)]), linear=False)
    mask = rng.random((n, steps)) > 0.3 if holes else np.ones((n, steps), dtype=bool)
    mu = x @ weight
    log_q = -0.5 * ((z[None] - mu[:, None]) ** 2 * np.exp(-logvar[:, None]) + logvar[:, None]).sum(-1)  # [i, j, T]
    exact, left_out = [], []
    for t in range(steps):
        rows = np.flatnonzero(mask[:, t])
        table = log_q[np.ix_(rows, rows)][..., t]
        exact += list(np.diag(table) - table.mean(axis=1))
        others = np.where(np.eye(len(rows), dtype=bool), 0, np.exp(table))
        left_out += list(np.diag(table) - np.log(others.sum(axis=0) / (len(rows) - 1)))
    found = bounds._upper(q, x, z, mask, PLAIN, 0)
    assert found["club"]["value"] == pytest.approx(np.mean(exact), rel=1e-10, abs=1e-10)
    assert found["leave-one-out"]["value"] == pytest.approx(np.mean(left_out), rel=1e-10, abs=1e-10)
    assert found["club"]["replicates"].shape == (PLAIN.bootstrap,)


def test_the_closed_form_is_the_one_that_training_minimises():
    import torch

    from srcid.model.mutual_information import Club

    torch.manual_seed(0)
    club = Club(3, 4, 8, scale="raw").double()
    x, y = torch.randn(40, 2, 3).double(), torch.randn(40, 2, 4).double()
    with torch.no_grad():
        mu, logvar = (z.numpy() for z in club.gaussian(x))
        expected = float(club.estimate(x, y))
    found = bounds._club(mu, logvar, y.numpy(), np.ones((40, 2), dtype=bool), PLAIN, 0)["value"]
    assert found == pytest.approx(expected, rel=1e-10)


def test_chunks_change_nothing(monkeypatch):
    mu, logvar, y = np.random.default_rng(0).standard_normal((3, 50, 2, 3))
    mask = np.ones((50, 2), dtype=bool)
    whole = contrast(mu, logvar, y, mask, own=True)
    monkeypatch.setattr(bounds, "CHUNK", 7)
    np.testing.assert_allclose(contrast(mu, logvar, y, mask, own=True), whole, rtol=1e-10, atol=1e-12)


def test_the_ridge_finds_a_line_and_what_it_leaves():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 5))
    y = x[:, :2] * [1.0, 0.0] + [0.5, 1.0] * rng.standard_normal((400, 2))
    mu, logvar = fit_ridge(x, y).predict(x)
    assert np.corrcoef(mu[:, 0], x[:, 0])[0, 1] > 0.98
    np.testing.assert_allclose(np.exp(logvar[0]), [0.25, 1.0], rtol=0.3)


def test_bounds_hold_on_a_calibrated_case_and_clubs_looseness_is_the_predicted_one():
    found = read(feature_bounds, *gaussian_pairs(600, 4, 1.5))
    assert found["infonce"].interval.low <= 1.5 and found["infonce"].value > 0.8
    limit = 4 * np.expm1(2 * 1.5 / 4)  # of CLUB with the true q
    assert found["club"].interval.low - 1 <= limit <= found["club"].interval.high + 1
    assert found["leave-one-out"].interval.high >= 1.2
    assert found["leave-one-out"].value < found["club"].value


def test_independent_pairs_give_values_around_zero():
    rng = np.random.default_rng(6)
    found = read(feature_bounds, rng.standard_normal((300, 2, 3)), rng.standard_normal((300, 2, 4)), settings=SMALL)
    for name, e in found.items():
        assert abs(e.value) < 0.2 and len(e.null) == 2 and np.abs(e.null).max() < 0.3, name
        assert not e.interval.low > 0.05


def test_a_nonlinear_dependence_is_found_by_the_network():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 1, 1))
    y = np.abs(x) + 0.2 * rng.standard_normal(x.shape)
    found = read(feature_bounds, x, y, settings=Settings(seeds=1, nulls=0, steps=300))
    assert found["club"].detail["linear"] == 0 and found["infonce"].detail["linear"] == 0
    assert found["club"].interval.low > 0.5 and found["infonce"].interval.low > 0.4
    line = fit_ridge(x[:, 0], y[:, 0]).predict(x[:, 0])[1]
    assert np.exp(line[0, 0]) > 0.8 * y.var()  # a line explains next to nothing of it


def test_what_is_a_function_of_the_other_is_unbounded():
    x = np.random.default_rng(0).standard_normal((200, 1, 3))
    found = read(feature_bounds, x, 2 * x + 1)
    assert found["club"].value == found["leave-one-out"].value == np.inf and found["club"].text == "unbounded"
    assert any("unbounded" in flag for flag in found["club"].flags)
    assert np.isfinite(found["infonce"].value)


def test_the_cap_of_infonce_is_respected_and_flagged():
    found = read(feature_bounds, *gaussian_pairs(160, 2, 8.0))["infonce"]
    assert found.cap == pytest.approx(np.log(40)) and found.value <= found.cap
    assert any("near its cap" in flag for flag in found.flags)


def test_curves_are_kept_and_permuted_clips_lose_the_dependence():
    found = read(feature_bounds, *gaussian_pairs(200, 2, 1.5), settings=SMALL)["infonce"]
    assert len(found.curves) == SMALL.seeds and len(found.curves[0][0]) == 3
    assert found.above_null and np.abs(found.null).max() < 0.3 * found.value


# nothing changes what should change nothing


def test_order_of_clips_changes_nothing():
    x, y = np.repeat(np.stack(gaussian_pairs(120, 3, 1.0)), 2, axis=2)
    mask = np.random.default_rng(0).random((120, 2)) > 0.1
    order = np.random.default_rng(1).permutation(120)
    for function in (feature_bounds, lambda *a: {"ksg": nearest_neighbours(*a)}):
        first = read(function, x, y, mask, SMALL)
        shuffled = read(function, x[order], y[order], mask[order], SMALL)
        for name, e in first.items():
            assert (shuffled[name].value, shuffled[name].interval) == (e.value, e.interval), name


def test_masked_steps_are_not_read_and_units_do_not_matter():
    x, y = gaussian_pairs(120, 3, 1.0)
    x, y = np.concatenate([x, -x], axis=1), np.concatenate([y, -y], axis=1)
    mask = np.random.default_rng(0).random((120, 2)) > 0.2
    dirty = np.where(mask[..., None], x, np.nan)
    assert read(nearest_neighbours, dirty, y, mask).value == read(nearest_neighbours, x, y, mask).value
    scaled = read(nearest_neighbours, x * 1000 + 5, y).value
    assert scaled == pytest.approx(read(nearest_neighbours, x, y).value, abs=1e-6)


def test_steps_of_one_clip_never_serve_two_purposes():
    """Constant clips make steps copies of each other; with clips split, there is still nothing to find."""
    rng = np.random.default_rng(3)
    x, y = (np.repeat(rng.standard_normal((200, 1, 3)), 8, axis=1) for _ in range(2))
    found = read(feature_bounds, x, y)
    assert found["club"].value < 0.3 and found["infonce"].value < 0.3


def test_the_same_seed_gives_the_same_and_global_randomness_is_left_alone():
    import torch

    x, y = gaussian_pairs(80, 2, 1.0)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again = (read(feature_bounds, x, y)["club"] for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert (first.value, first.interval) == (again.value, again.interval)
    other = read(feature_bounds, x, y, settings=PLAIN.model_copy(update=dict(seed=9)))["club"]
    assert other.value != first.value


# nearest neighbours


def test_ksg_finds_known_values():
    x, y = gaussian_pairs(1500, 1, 0.8)
    assert ksg_terms(x[:, 0], y[:, 0]).mean() == pytest.approx(0.8, abs=0.15)


@pytest.mark.parametrize("classes", [3, 40, 300])
def test_ross_is_what_scikit_learn_computes_also_with_single_clips(classes):
    rng = np.random.default_rng(classes)
    category = rng.integers(classes, size=500)
    x = rng.standard_normal((500, 1)) + (category % 3)[:, None]
    ours = max(0.0, np.nanmean(category_terms(x, category)))
    theirs = mutual_info_classif(x, category, n_neighbors=4, random_state=0)[0]
    assert ours == pytest.approx(theirs, abs=0.01)  # theirs rounds distances
    single = np.bincount(category)[category] == 1
    np.testing.assert_array_equal(np.isnan(category_terms(x, category)), single)


def test_ross_is_not_biased_by_many_categories_and_flags_single_clips():
    rng = np.random.default_rng(0)
    found = [np.nanmean(category_terms(rng.random((700, 2)), rng.integers(600, size=700))) for _ in range(5)]
    assert abs(np.mean(found)) < 0.25
    e = read(nearest_neighbours, rng.standard_normal((100, 1, 2)), rng.integers(60, size=100))
    assert any("alone in their category" in flag for flag in e.flags)


def test_ksg_says_how_little_its_components_hold_and_that_rows_repeat():
    x, y = gaussian_pairs(200, 20, 2.0)
    found = read(nearest_neighbours, x, y)
    assert found.detail["explained_x"] < 0.5 and any("3 components hold" in flag for flag in found.flags)
    tied = np.round(x[..., :1])
    assert any("of x repeat another" in flag for flag in read(nearest_neighbours, tied, y).flags)
    assert not any("repeat another" in flag for flag in found.flags)


# counts


def test_corrected_entropy_has_less_bias_than_the_plain_one():
    rng = np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(50, size=60), minlength=50) for _ in range(200)]
    plain = [-(c[c > 0] / 60 * np.log(c[c > 0] / 60)).sum() for c in drawn]
    assert abs(np.mean([corrected_entropy(c) for c in drawn]) - np.log(50)) < abs(np.mean(plain) - np.log(50)) / 2
    assert corrected_entropy(np.array([7000, 7000])) == pytest.approx(np.log(2), abs=1e-3)


def test_plug_in_of_a_channel_and_too_few_counts():
    x, y = channel_pairs(2000, 5, 0.3, steps=2)
    assert read(plugin, x, y).value == pytest.approx(channel_information(5, 0.3), abs=0.08)
    assert read(plugin, x, x).value <= np.log(5)
    few = channel_pairs(60, 40, 0.9, steps=2)
    assert any("too few counts" in flag for flag in read(plugin, *few).flags)


@pytest.mark.parametrize("pairs", [channel_pairs, cluster_pairs])
def test_category_bounds_hold_the_truth(pairs):
    truth = channel_information(6, 0.3)
    found = read(counts.category_bounds, *pairs(400, 6, 0.3))
    assert found["barber-agakov"].interval.low <= truth + 0.1 and found["barber-agakov"].value > truth - 0.4
    assert found["club-categorical"].interval.high >= truth - 0.1


def test_a_probe_of_nothing_proves_nothing_of_many_codes():
    rng = np.random.default_rng(0)
    found = read(counts.category_bounds, rng.standard_normal((200, 1, 8)), rng.integers(80, size=200))
    assert found["barber-agakov"].interval.low < 0.05


# leakage


def test_leakage_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    label = rng.integers(4, size=240)
    x = rng.standard_normal((240, 5, 8))
    x[:, :, :4] += 2 * np.eye(4)[label][:, None]
    there = leakage(x, label, settings=SMALL, factor="speaker")
    assert there.leaks and there.score.value > 0.9 and there.chance == 0.25 and 0.8 < there.nats < np.log(4) + 0.15
    absent = leakage(x, rng.integers(4, size=240), settings=SMALL)
    assert absent.score.low < 0.35 and absent.nats < 0.1
    tone = leakage(x, (label[:, None] * 1.0) + 0.1 * rng.standard_normal((240, 1)), settings=SMALL)
    assert tone.metric == "r2" and tone.leaks and tone.score.value > 0.7
    assert str(there).startswith("speaker: balanced accuracy")


def test_the_score_is_not_fooled_by_background():
    rng = np.random.default_rng(0)
    event = rng.random((200, 4, 2)) < 0.04
    found = leakage(rng.standard_normal((200, 4, 6)), event, settings=SMALL)
    assert found.chance <= 0.5 and found.score.value < 0.65


# refusals


def test_bad_input_is_refused_with_a_way_out():
    x, y = np.random.default_rng(0).standard_normal((2, 100, 2, 3))
    hole = x.copy()
    hole[3, 1, 2] = np.inf
    cases = [
        ((x, y[:90]), "100 clips and y 90"),
        ((x, np.concatenate([y, y], axis=1)), "2 steps and y 4"),
        ((x * 0, y), "x is constant over all clips"),
        ((np.where(hole > 1e300, 1e200, hole), y), "beyond 1e"),
        ((hole, y), r"x: 1 values are not finite .*, the first at \[3, 1, 2\]"),
        ((x, y, np.ones((100, 3), dtype=bool)), r"mask: found bool \[100, 3\], need bool \[100, 2\]"),
        ((x, y, np.zeros((100, 2), dtype=bool)), "no clip has a valid step"),
        ((x[:, 0, 0], y), r"x: found shape \[100\], need \[n,T,d\]"),
        ((x.astype(complex), y), "x: found dtype complex"),
    ]
    for arguments, message in cases:
        with pytest.raises(InformationError, match=message):
            read_pair(*arguments)
    with pytest.raises(InformationError) as error:
        read_pair(x * 0, y * 0)
    assert len(error.value.problems) == 2  # both at once
    with pytest.raises(InformationError, match=r"20 clips, too few .* need about 54 clips"):
        split_clips(20, 0)
    with pytest.raises(InformationError, match="need floating ones"):
        leakage(np.ones((9, 2), dtype=int), np.ones(9, dtype=int))


def test_columns_that_never_change_are_dropped_and_named():
    x, y = gaussian_pairs(100, 3, 1.0)
    x[..., 1] = 4
    assert read_pair(x, y)[0].values.shape == (100, 1, 2)
    assert "1 constant columns of x were dropped" in read(nearest_neighbours, x, y).flags


def test_combinations_of_labels_are_categories():
    labels = np.array([[True, False], [True, True], [True, False], [False, False]])
    found = as_categories(labels)
    assert found[0] == found[2] and len(set(found.tolist())) == 3


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"seeds(.|\n)*bootstrap"):
        Settings(seeds=0, bootstrap=3)
