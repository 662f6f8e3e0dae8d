"""Questions asked of a CodeTable: the right arrays are compared, results are kept, and relations are honest."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from srcid.codes import CodeTableError
from srcid.features import SyntheticParams, latent_information, make_synthetic
from srcid.information import disentanglement as ask
from srcid.information.ablation import ablation_records
from srcid.information.bracket import Settings, bracket
from srcid.information.calibration import (
    calibrate,
    calibrate_factors,
    channel_pairs,
    cluster_pairs,
    gaussian_pairs,
    likeness,
)
from srcid.information.clips import InformationError
from srcid.information.disentanglement import measure
from srcid.information.keep import Keep, from_json, to_json
from srcid.information.leakage import leakage
from srcid.information.ranks import rank_relation
from tests.helpers import tiny_params

SMALL = Settings(
    seeds=1, nulls=1, bootstrap=20, hidden=8, steps=20, check=10, patience=2, batch=32, q="linear", constant="drop"
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """80 clips of two modalities in two layers: an untrained network's, with all features kept."""
    import torch

    from srcid.codes import encode
    from srcid.model.network import SRCID

    folder = tmp_path_factory.mktemp("asked")
    made = SyntheticParams(shapes={"first": (12,), "second": (10,)}, train=60, val=10, test=10, steps=4, classes=3)
    store = make_synthetic(folder / "store", made)
    torch.manual_seed(0)
    network = SRCID(store.shapes, tiny_params(keep_features=70))
    network({m: torch.from_numpy(x) for m, x in store.batch(store.splits["train"]).items()})
    return encode(network.eval(), store, folder / "codes")


def test_every_question_names_its_pairs(table):
    assert [str(p) for p in ask.within(table)] == [
        "I(z1 first; s1 first)", "I(z1 second; s1 second)", "I(z2 first; s2 first)", "I(z2 second; s2 second)",
    ]  # fmt: skip
    assert [str(p) for p in ask.across(table)] == ["I(z1 first; z1 second)", "I(z2 first; z2 second)"]
    assert [str(p) for p in ask.between_layers(table)] == ["I(c1 first; c2 first)", "I(c1 second; c2 second)"]
    factors = ask.with_factors(table, "specific", ["event"])
    assert [str(p) for p in factors] == [f"I(s{k} {m}; event)" for k in (1, 2) for m in ("first", "second")]
    assert [p.layer for p in ask.between_layers(table)] == [2, 2]
    assert ask.across(table)[0].modalities == ("first", "second") and factors[0].modalities == ("first",)


def test_values_are_those_of_the_chosen_clips_and_steps(table):
    chosen = ask.sample(table, clips=30, steps=2)
    assert len(chosen.rows) == 30 and chosen.steps.tolist() == [1, 3]
    kept, general = table.general(1, "first")
    at = np.flatnonzero(np.isin(kept, chosen.rows))
    np.testing.assert_array_equal(
        ask.values_of(table, ask.Variable("general", 1, "first"), chosen), general[at][:, [1, 3]]
    )
    np.testing.assert_array_equal(
        ask.values_of(table, ask.Variable("quantized", 2, "second"), chosen),
        table.quantized(2, "second", chosen.rows)[:, [1, 3]],
    )
    event = ask.values_of(table, ask.Variable("label", label="event"), chosen)
    np.testing.assert_array_equal(event, table.labels["event"][chosen.rows][:, [1, 3]])
    assert ask.values_of(table, ask.Variable("label", label="nuisance_first"), chosen).shape == (30,)
    assert len(ask.sample(table).rows) == 70 and len(ask.whole(table).rows) == 80
    with pytest.raises(CodeTableError, match="does not keep"):
        ask.values_of(table, ask.Variable("specific", 1, "first"), ask.whole(table))
    with pytest.raises(InformationError, match="no label 'speaker'; there are event"):
        ask.values_of(table, ask.Variable("label", label="speaker"), chosen)


def test_measuring_is_bracketing_and_quantised_features_are_counted_by_code(table):
    chosen = ask.sample(table, steps=2)
    pairs = [ask.within(table)[0], ask.within(table, "quantized")[0]]
    found = measure(table, pairs, chosen, SMALL, source="a run")
    kept = [getattr(table, what)(1, "first")[1][:, chosen.steps] for what in ("general", "specific")]
    expected = bracket(*kept, settings=SMALL, names=("z1 first", "s1 first"))
    assert found.brackets[pairs[0]].lower.value == expected.lower.value
    assert found.brackets[pairs[1]].independent.name == "ross"
    assert set(found.brackets[pairs[0]].estimates) == set(expected.estimates)
    (first, second) = found.rows()
    assert first["pair"] == "I(z1 first; s1 first)" and first["lower"] == expected.lower.value
    assert second["lower_low"] <= second["lower"] <= second["lower_high"]
    assert found.values("club-exact", layer=1)[0] == expected.upper.value and found.values("club-exact", layer=2) == []
    assert len(found.sentences()) == 2 and "I(z1 first; s1 first): " in found.sentences()[0]


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(table):
    few = ask.Sample(table.general(1, "first")[0][:20], np.arange(4))
    pairs = [ask.across(table)[0], ask.Comparison("factors", ask.Variable("codes", 3, "first"), ask.Variable("label"))]
    found = measure(table, pairs, few, SMALL)
    assert not found.brackets and "20 clips, too few for the split" in found.missing[pairs[0]]
    assert "not measured" in found.sentences()[0] and len(found.missing) == 2


def test_results_are_kept_read_again_and_made_anew_for_other_content(tmp_path, table):
    keep, pairs = Keep(tmp_path / "kept"), [ask.within(table)[0]]
    chosen = ask.sample(table, steps=1)
    first = measure(table, pairs, chosen, SMALL, keep=keep)
    again = measure(table, pairs, chosen, SMALL, keep=keep)
    assert (keep.computed, keep.read) == (1, 1)
    assert json.dumps(to_json(first.brackets[pairs[0]])) == json.dumps(to_json(again.brackets[pairs[0]]))
    measure(table, pairs, chosen, replace(SMALL, seed=1), keep=keep)
    measure(table, pairs, ask.sample(table, clips=60, steps=1), SMALL, keep=keep)
    assert (keep.computed, keep.read) == (3, 1)
    for path in (tmp_path / "kept").glob("*.json"):
        path.write_text("{")  # damaged: as good as missing
    measure(table, pairs, chosen, SMALL, keep=keep)
    assert (keep.computed, keep.read) == (4, 1)
    with pytest.raises(TypeError, match="cannot be kept"):
        to_json({"model": object()})


def test_kept_results_come_back_exactly():
    x, y = gaussian_pairs(80, 2, 1.0)
    for found in (bracket(x, y, settings=SMALL), leakage(x, (x[:, 0, 0] > 0).astype(int), settings=SMALL)):
        back = from_json(json.loads(json.dumps(to_json(found))))
        assert type(back) is type(found) and str(back) == str(found) and back.settings == found.settings
    assert back.null.dtype == float and back.interval == found.interval


def test_leaks_look_for_shared_factors_in_s_and_private_ones_in_z(table):
    found, notes = ask.leaks(table, ask.sample(table, steps=2), SMALL)
    assert notes == []
    places = {(v.layer, v.modality, v.side, v.probe.factor): v for v in found}
    assert (
        len(places) == len(found) == 2 * (2 * 2 * 2 + 2 * 2)
    )  # layers x (shared x modalities x sides + private x sides)
    assert places[1, "first", "specific", "nuisance_first"].belongs and places[1, "first", "general", "event"].belongs
    wrong = places[2, "second", "general", "nuisance_second"]
    assert not wrong.belongs and wrong.private and not places[1, "first", "specific", "event"].private
    assert (1, "first", "general", "nuisance_second") not in places
    assert wrong.row()["score"] == wrong.probe.score
    only, _ = ask.leaks(table, ask.sample(table, steps=2), SMALL, misplaced=True)
    assert [v.probe.score for v in only] == [v.probe.score for v in found if not v.belongs]


# rank correlations


def test_rank_relation_finds_a_monotone_relation_of_any_shape():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20)
    found = rank_relation(x, -np.exp(3 * x), resamples=400)
    assert found.rho == pytest.approx(-1) and found.p_value < 0.01 and found.interval[1] < -0.9
    nothing = rank_relation(x, rng.standard_normal(20), resamples=400)
    assert nothing.interval[0] < 0 < nothing.interval[1] and nothing.p_value > 0.05
    from scipy import stats

    y = x + rng.standard_normal(20)
    assert rank_relation(x, y, resamples=10).rho == pytest.approx(stats.spearmanr(x, y).statistic)


def test_what_groups_differ_in_makes_no_relation():
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1], 10)
    x, y = 10 * group + rng.standard_normal((2, 20))
    assert rank_relation(x, y, resamples=300).p_value < 0.02
    inside = rank_relation(x, y, groups=group, resamples=300)
    assert inside.p_value > 0.05 and inside.groups == 2 and "within 2 groups" in str(inside)
    assert rank_relation(x, y, groups=[*range(5), *[9] * 15], resamples=50).runs == 15


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


def test_ablation_records_join_diagnostics_and_scores(table):
    found = measure(table, ask.within(table), ask.sample(table, steps=1), SMALL)
    leaks, _ = ask.leaks(table, ask.sample(table, steps=1), SMALL, misplaced=True)
    about = dict(family="srcid vq", seed=3)
    params = pd.DataFrame(
        {"on": {**about, "method": "srcid vq", "club_off": []}, "off": {**about, "method": "x", "club_off": [1, 2]}}
    ).T
    rows = [
        dict(run="on", representation=r, task="localisation", same=same, score=score)
        for r, same, score in (("all", False, 60.0), ("all", False, 70.0), ("all", True, 99.0), ("only1", False, 1.0))
    ]
    off, on = ablation_records(pd.DataFrame(rows), params, {"off": found, "on": found}, {"on": leaks})[::-1]
    assert on["setting"] == "on in all layers" and off["setting"] == "off in both" and on["seed"] == 3
    assert on["score/localisation"] == 65.0 and "score/localisation" not in off
    assert on["mi/infonce/2"] == pytest.approx(np.mean(found.values("infonce", 2)))
    excess = [100 * (v.probe.score - v.probe.chance) for v in leaks if v.private]
    assert on["leak/private"] == pytest.approx(np.mean(excess)) and np.isnan(off["leak/shared"])


# known truth


def test_clusters_carry_what_their_channel_carries():
    x, y = cluster_pairs(400, 6, 1.0)
    assert x.shape == (400, 1, 6)
    seen = x.argmax(axis=-1)
    np.testing.assert_array_equal(seen, channel_pairs(400, 6, 1.0)[0])
    found = bracket(x, y, settings=replace(SMALL, nulls=0))
    assert found.lower.interval[0] <= 1.0 <= found.upper.interval[1]


def test_likeness_is_the_share_that_steps_have_in_common():
    x, y = gaussian_pairs(800, 3, 1.0, steps=5, alike=0.7)
    assert likeness(x) == pytest.approx(0.7, abs=0.05) and likeness(y) == pytest.approx(0.7, abs=0.05)
    joint = np.corrcoef(np.hstack([x[:, 0], y[:, 0]]).T)
    found = 0.5 * np.log(np.linalg.det(joint[:3, :3]) * np.linalg.det(joint[3:, 3:]) / np.linalg.det(joint))
    assert found == pytest.approx(1.0, abs=0.15)  # the information is left as it was
    assert likeness(gaussian_pairs(300, 3, 1.0, steps=5)[0]) < 0.05 and likeness(x[:, :1]) == 0
    assert likeness(np.repeat(x[:, :1], 4, axis=1)) == pytest.approx(1.0)


def test_calibrations_of_equal_size_join_and_others_do_not():
    settings = replace(SMALL, nulls=0)
    one = calibrate(dims=(2,), strengths=(0.5,), clips=80, settings=settings)
    two = calibrate(dims=(4,), strengths=(0.5,), clips=80, shapes=("channel",), settings=settings)
    both = one + two
    assert len(both.truth) == len(one.truth) + len(two.truth) and set(both.shape) == {"gaussian", "channel"}
    assert both.summary()["plug-in"] == two.summary()["plug-in"]
    with pytest.raises(InformationError, match="need equal sizes"):
        _ = one + calibrate(dims=(2,), strengths=(0.5,), clips=90, settings=settings)


def test_the_synthetic_factors_truth_agrees_with_estimates(tmp_path):
    made = SyntheticParams(shapes={"first": (20,), "second": (16,)}, train=600, val=10, test=10, steps=2, classes=3,
                           latent=16)  # fmt: skip
    store = make_synthetic(tmp_path / "store", made)
    busy = float(store.labels["event"].any(axis=-1).mean())
    truth = {("first", f): latent_information(made, "first", f, busy) for f in store.labels}
    assert truth["first", "nuisance_second"] == 0 and 0 < truth["first", "fine"] < np.log(made.shades)
    found = calibrate_factors({"first": store.features["first"][:]}, dict(store.labels), truth, replace(SMALL, nulls=0))
    lower, upper = found.kind == "lower", found.kind == "upper"
    assert (found.low[lower] <= found.truth[lower] + 0.03).all()
    # a linear probe finds most of what there is, so the truth is no overstatement either
    assert (found.high[lower] >= 0.8 * found.truth[lower] - 0.05).all()
    assert (found.high[upper] >= found.truth[upper] - 0.05).all()


@pytest.mark.parametrize("modality, factor", [("video", "event"), ("audio", "nothing"), ("third", "event")])
def test_truth_is_refused_where_it_is_not_known(modality, factor):
    with pytest.raises(ValueError, match=r"need one of|is a grid"):
        latent_information(SyntheticParams(), modality, factor, 0.5)
