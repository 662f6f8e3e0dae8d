"""Questions asked of a CodeTable: the right arrays are compared, results are kept, verdicts follow from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srcid.codes import CodeTableError
from srcid.features import SyntheticParams, make_synthetic
from srcid.information import questions as ask
from srcid.information.bracket import Bracket, Certified, bracket
from srcid.information.calibration import calibrate
from srcid.information.disentanglement import certified_bounds, measure, own_pairs, verdicts
from srcid.information.estimates import InformationError, Settings, estimates_cache
from srcid.information.leakage import Leakage, leakage, leaks
from srcid.statistics import Interval
from tests.helpers import tiny_params

SMALL = Settings(seeds=1, nulls=1, bootstrap=20, steps=20)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """140 clips of two modalities in two layers: an untrained network's, with most features kept."""
    import torch

    from srcid.codes import encode
    from srcid.model.network import SRCID

    folder = tmp_path_factory.mktemp("asked")
    made = SyntheticParams(shapes={"first": (12,), "second": (10,)}, train=60, val=10, test=70, steps=4, classes=3)
    store = make_synthetic(folder / "store", made)
    torch.manual_seed(0)
    network = SRCID(store.shapes, tiny_params(keep_features=130))
    network({m: torch.from_numpy(x) for m, x in store.batch(store.splits["train"]).items()})
    return encode(network.eval(), store, folder / "codes")


def test_every_question_names_its_pairs(table):
    assert [str(p) for p in ask.within(table)] == [
        "I(z1 first; s1 first)", "I(z1 second; s1 second)", "I(z2 first; s2 first)", "I(z2 second; s2 second)",
    ]  # fmt: skip
    assert [str(p) for p in ask.of_codes(table)][:2] == ["I(c1 first; s1 first)", "I(c1 second; s1 second)"]
    assert [str(p) for p in ask.across(table)] == ["I(z1 first; z1 second)", "I(z2 first; z2 second)"]
    assert [str(p) for p in ask.between_layers(table)] == ["I(c1 first; c2 first)", "I(c1 second; c2 second)"]
    assert [p.layer for p in ask.between_layers(table)] == [2, 2]
    assert ask.across(table)[0].modalities == ("first", "second")


def test_clips_are_those_of_the_split(table):
    kept = table.general(1, "first")[0]
    assert set(ask.sample(table).rows) == set(table.splits["test"]) & set(kept)
    assert len(ask.sample(table, split="all").rows) == 130 and len(ask.all_clips(table, "all").rows) == 140
    assert str(ask.sample(table, clips=30, steps=1)) == "30 test clips, one step of each"
    assert "training and test" in str(ask.sample(table, split="all"))
    with pytest.raises(InformationError, match="found split='exam'; need one of train, val, test, all"):
        ask.sample(table, split="exam")


def test_values_are_those_of_the_chosen_clips_and_steps(table):
    chosen = ask.sample(table, clips=30, steps=2)
    assert len(chosen.rows) == 30 and chosen.steps.tolist() == [1, 3]
    kept, general = table.general(1, "first")
    at = np.flatnonzero(np.isin(kept, chosen.rows))
    for what, expected in (
        ("general", general[at][:, [1, 3]]),
        ("codes", table.code(1, "first")[chosen.rows][:, [1, 3]]),
    ):
        np.testing.assert_array_equal(ask.values_of(table, ask.Variable(what, 1, "first"), chosen), expected)
    with pytest.raises(CodeTableError, match="does not keep"):
        ask.values_of(table, ask.Variable("specific", 1, "first"), ask.all_clips(table, "all"))


def test_measuring_is_bracketing(table):
    chosen, pair = ask.sample(table, steps=2), ask.within(table)[0]
    found = measure(table, [pair, ask.of_codes(table)[0]], chosen, SMALL, source="a run")
    kept = [ask.values_of(table, v, chosen) for v in (pair.x, pair.y)]
    expected = bracket(*kept, settings=SMALL, names=("z1 first", "s1 first"))
    assert found.brackets[pair] == expected
    frame = found.frame()
    assert frame["pair"][0] == "I(z1 first; s1 first)" and frame["lower"][0] == expected.lower.value
    assert frame["certified"][1] > 0  # codes are at most as many as are in use
    assert "of 2 pairs share information" in found.finding and "test clips" in found.finding
    assert list(found.only(pair).brackets) == [pair]


def test_a_bound_is_called_certified_only_where_it_is(table):
    """A bound by a fitted q is none if q is wrong."""
    found = measure(table, ask.within(table)[:1], ask.sample(table, steps=2), SMALL)
    ((pair, one),) = found.brackets.items()
    upper = replace(one.upper, interval=Interval(1.0, 0.5, 1.5), unreliable="")
    loose = replace(one, contradiction="", estimates={**one.estimates, one.upper_name: upper})
    said = replace(found, brackets={pair: loose}).finding
    assert said.endswith("; 1 has an upper bound as far as its q is right.")
    bound = replace(found, brackets={pair: loose.certify(Certified(2.0, "a rate"))}).finding
    assert bound.endswith("; 1 has a certified upper bound.")
    void = replace(loose, contradiction="lower above upper")
    assert replace(found, brackets={pair: void}).finding.endswith("; none has a reliable upper bound.")


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(table):
    few = ask.sample(table, clips=20)
    pairs = [ask.across(table)[0], ask.Comparison("codes", *(ask.Variable("codes", k, "first") for k in (3, 1)))]
    found = measure(table, pairs, few, SMALL)
    assert not found.brackets and "20 clips, too few" in found.missing[pairs[0]]
    assert "layer 3 is not there" in found.missing[pairs[1]] and found.finding == "Nothing could be measured."


def test_results_are_kept_read_again_and_made_anew_for_other_content(tmp_path):
    calls = []

    def counted(x: np.ndarray, settings: Settings) -> Bracket:
        calls.append(settings.seed)
        return bracket(x, x + 1, settings=settings)

    counted.__annotations__ = {"return": Bracket}
    keep, x = estimates_cache(tmp_path / "kept"), np.random.default_rng(0).standard_normal((60, 1, 2))
    first, again = (keep(counted, x, settings=SMALL) for _ in range(2))
    assert len(calls) == 1 and again == first and first.upper.value == np.inf  # unbounded comes back, too
    keep(counted, x, settings=SMALL.model_copy(update=dict(seed=1)))
    keep(counted, x[:58], settings=SMALL)
    assert calls == [0, 1, 0]
    for path in (tmp_path / "kept").glob("*"):
        path.write_bytes(b"{")  # damaged: as good as missing
    assert keep(counted, x, settings=SMALL) == first and len(calls) == 4


def test_kept_probes_come_back_exactly(tmp_path):
    x = np.random.default_rng(0).standard_normal((80, 1, 2))
    keep = estimates_cache(tmp_path)
    first, again = (keep(leakage, x, x[:, 0], settings=SMALL, factor="tone") for _ in range(2))
    assert isinstance(again, Leakage) and str(first) == str(again) and np.isnan(again.nats)
    assert (again.score, again.null, again.settings) == (first.score, first.null, first.settings)


def test_leaks_look_for_shared_factors_in_s_and_private_ones_in_z(table):
    found = leaks(table, ask.sample(table, steps=2), SMALL)
    assert found.notes == ()
    places = {(v.layer, v.modality, v.side, v.probe.factor): v for v in found.probes}
    # layers x (shared x modalities x sides + private x sides)
    assert len(places) == len(found.probes) == 2 * (2 * 2 * 2 + 2 * 2)
    assert places[1, "first", "specific", "nuisance_first"].belongs and places[1, "first", "general", "event"].belongs
    wrong = places[2, "second", "general", "nuisance_second"]
    assert not wrong.belongs and wrong.private and not places[1, "first", "specific", "event"].private
    assert (1, "first", "general", "nuisance_second") not in places
    assert len(found.misplaced(private=True)) == 4 and f"of {len(found.misplaced(False))} places" in found.finding
    assert found.frame()["score"].tolist() == [v.probe.score.value for v in found.probes]
    only = leaks(table, ask.sample(table, steps=2), SMALL, misplaced=True)
    assert [v.probe.score for v in only.probes] == [v.probe.score for v in found.probes if not v.belongs]


def test_a_calibration_on_own_features_has_a_panel_a_pair(table):
    pairs = [ask.within(table)[0], ask.of_codes(table)[0]]
    lines: list[str] = []
    found = calibrate(own_pairs(table, pairs, ask.sample(table, steps=1)), SMALL, progress=lines.append)
    assert lines == [f"{panel}, of known information" for panel in found.panels]  # it takes a while
    assert found.panels == tuple(map(str, pairs))
    assert {c.estimate.name for c in found.of(str(pairs[1]))} == {"barber-agakov", "ross", "club-categorical"}
    assert {c.estimate.dims[0] for c in found.of(str(pairs[0]))} == {table.general(1, "first")[1].shape[-1]}
    marked = measure(table, pairs, ask.sample(table, steps=1), SMALL).mark(found)
    limit = found.limit(str(pairs[0]), "club")
    upper = marked.brackets[pairs[0]].upper
    assert bool(upper.unreliable) == (not upper.value <= limit)


def test_certified_bounds_are_the_last_rates_of_validation_clips():
    metrics = [{"step": 1, "val/rate/1/first": 9.0, "rate/1/first": 1.0}, {"step": 2, "val/rate/1/first": 2.5}]
    assert {place: b.nats for place, b in certified_bounds(metrics).items()} == {(1, "first"): 2.5}
    assert certified_bounds([{"step": 1, "mi/1/first": 3.0}]) == {}


def test_verdicts_follow_from_lower_bounds_and_certified_ones(table):
    chosen = ask.sample(table, steps=1)
    codes, features = (measure(table, pairs(table)[:1], chosen, SMALL) for pairs in (ask.of_codes, ask.within))
    found = leaks(table, chosen, SMALL, misplaced=True)

    def verdict(low, bound):
        changed = []
        for measured in (codes, features):
            pair, b = next(iter(measured.brackets.items()))
            e = replace(b.lower, interval=Interval(low + 0.1, low, low + 0.2), null=(0.0,))
            b = replace(b, estimates={**b.estimates, e.name: e}, certified=None)
            changed.append(replace(measured, brackets={pair: b}).certify({(1, "first"): bound} if bound else {}))
        return verdicts(*changed, found)[0]

    assert verdict(1.0, None).answer == "not split" and "at least 1.00 nats with z" in verdict(1.0, None).finding
    assert verdict(-0.3, Certified(0.2, "a rate")).answer == "split"
    assert "at most 0.20 nats (a rate)" in verdict(-0.3, Certified(0.2, "a rate")).finding
    assert verdict(-0.3, Certified(4.0, "a rate")).answer == "undecided"
    assert "no certified upper bound" in verdict(-0.3, None).finding
    assert (
        verdict(1.0, None).finding.startswith("Layer 1, first: not split") and "test clips" in verdict(1, None).finding
    )
