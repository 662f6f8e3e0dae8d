"""Figures of mutual information say what was measured, and mark what is unreliable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from srcid.information.ablation import RankRelation, relate
from srcid.information.bracket import Certified, bracket
from srcid.information.calibration import Known, calibrate, gaussian_pairs
from srcid.information.disentanglement import Measurements
from srcid.information.estimates import Settings
from srcid.information.figures.ablation import relation_figure, settings_figure
from srcid.information.figures.brackets import bracket_figure, estimate_card, leak_figure, training_information
from srcid.information.figures.estimators import LARGEST, calibration_figure, nats_ticks, squash
from srcid.information.leakage import Leak, Leaks, leakage
from srcid.information.questions import Comparison, Sample, Variable
from srcid.statistics import Interval
from srcid.style import INK, modality_colors
from tests.house import caption, check_house_style

SMALL = Settings(seeds=2, nulls=2, bootstrap=20, steps=20)
MODALITIES = ("first", "second")
CLIPS = Sample(np.arange(90), np.arange(1), "test")


def title(fig):
    return " ".join(fig.layout.title.text.split("<br>"))


@pytest.fixture(scope="module")
def measured():
    """One pair that shares 1.5 nats, one that shares none, and one of two modalities."""
    rng = np.random.default_rng(0)
    pairs = [Comparison("within", Variable("general", 1, m), Variable("specific", 1, m)) for m in MODALITIES]
    pairs.append(Comparison("across", *(Variable("general", 2, m) for m in MODALITIES)))
    data = [gaussian_pairs(90, 2, 1.5), rng.standard_normal((2, 90, 1, 2)), gaussian_pairs(90, 2, 1.0)]
    brackets = {pair: bracket(*xy, settings=SMALL) for pair, xy in zip(pairs, data, strict=True)}
    missing = {Comparison("within", Variable("general", 2, "first"), Variable("specific", 2, "first")): "s is constant"}
    return Measurements(brackets, missing, CLIPS, SMALL, "a run")


@pytest.fixture(scope="module")
def calibration():
    known = [Known(f"{dim} columns", n, *gaussian_pairs(90, dim, n)) for dim in (2, 24) for n in (0.0, 2.0)]
    return calibrate(known, SMALL)


@pytest.fixture(scope="module")
def leaks():
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=90)
    x = 4 * np.eye(3)[label][:, None] + rng.standard_normal((90, 1, 3))
    strong, none = (leakage(x, labels, settings=SMALL, factor="event") for labels in (label, rng.permutation(label)))
    probes = (
        Leak(1, "first", "general", True, strong), Leak(1, "first", "specific", False, strong),
        Leak(2, "second", "specific", False, replace(none, score=Interval(0.3, 0.2, 0.4))),
        Leak(1, "first", "general", False, replace(none, factor="voice", score=Interval(0.3, 0.2, 0.4))),
    )  # fmt: skip
    return Leaks(probes, (), CLIPS)


@pytest.fixture(scope="module")
def runs():
    rng = np.random.default_rng(0)
    settings = ("on in all layers", "off in layer 1", "off in both")
    rows = [{"run": f"run {i}", "setting": settings[i % 3], "mi/infonce/1": float(i), "mi/infonce/2": np.nan,
             "score/x": i + rng.normal()} for i in range(12)]  # fmt: skip
    return pd.DataFrame(rows).set_index("run")


def metrics():
    lines = []
    for step in range(5, 205, 5):
        line = {"step": step, "layers_open": 1 + (step > 100), "opened_by/2": "settled", "val/rate/1/first": 2.0}
        line |= {f"mi/1/{m}": 300 / step for m in MODALITIES} | ({"mi/2/first": 2.0} if step > 100 else {})
        lines.append(line)
    return lines


@pytest.fixture(scope="module")
def figures(measured, calibration, leaks, runs):
    pair = next(iter(measured.brackets))
    return {
        "training_information": training_information(metrics(), MODALITIES, 2),
        "bracket_figure": bracket_figure(measured, MODALITIES),
        "estimate_card": estimate_card(pair, measured.brackets[pair], "club"),
        "calibration_figure": calibration_figure(calibration),
        "leak_figure": leak_figure(leaks, MODALITIES),
        "settings_figure": settings_figure(runs, {"mi/infonce/1": "I(z; s)", "score/x": "x, across"}),
        "relation_figure": relation_figure(runs, relate(runs, [("mi/infonce/1", "score/x")]), {"score/x": "x, %"}),
    }


KINDS = ("training_information", "bracket_figure", "estimate_card", "calibration_figure", "leak_figure",
         "settings_figure", "relation_figure")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_keeps_the_house_style(figures, kind):
    assert set(figures) == set(KINDS)
    check_house_style(figures[kind])
    assert {trace.type for trace in figures[kind].data} <= {"scatter"}


def points(fig):
    return [t for t in fig.data if t.mode == "markers" and len(t.x) and t.x[0] is not None]


def test_an_axis_of_nats_keeps_order_and_names_its_ticks():
    values = np.array([-50, -0.5, 0, 0.1, 3, 300])
    assert (np.diff(squash(values)) > 0).all() and np.sinh(squash(np.inf)) == pytest.approx(LARGEST)
    ticks = nats_ticks(-1, 30)
    assert ticks["ticktext"] == ["−1", "0", "1", "3", "10", "30"]
    np.testing.assert_allclose(np.sinh(ticks["tickvals"]), [-1, 0, 1, 3, 10, 30])


def test_training_shows_estimates_rates_and_the_opening(figures):
    fig = figures["training_information"]
    first = next(t for t in fig.data if t.name == "first" and t.xaxis == "x")
    np.testing.assert_allclose(np.sinh(first.y), [300 / step for step in range(5, 205, 5)])
    assert first.line.color == modality_colors(MODALITIES)["first"]
    assert {shape.x0 for shape in fig.layout.shapes} == {105}
    assert "has stopped falling in every modality" in title(fig) and "the rate at 2 nats" in title(fig)
    assert "skill" not in " ".join(note.text for note in fig.layout.annotations if note.name != "caption")
    assert "no mutual information" in title(training_information([{"step": 1}], MODALITIES, 2))


def test_brackets_show_each_estimate_with_its_null_and_what_is_certified(measured):
    fig = bracket_figure(measured, MODALITIES)
    assert len(points(fig)) == 3 * 4 and len(fig.layout.shapes) == 3
    found = measured.brackets[next(iter(measured.brackets))]
    assert any(np.isclose(np.sinh(t.x[0]), found.lower.value) for t in points(fig))
    assert all(s.x0 < 0 < s.x1 for s in fig.layout.shapes)
    colors = modality_colors(MODALITIES)
    assert {t.marker.color for t in points(fig)} == {*colors.values(), INK}  # grey: a pair of two modalities
    assert "s is constant" in caption(fig) and "a run, 90 test clips" in caption(fig)
    assert title(fig) == measured.finding
    bound = bracket_figure(measured.certify({(1, "first"): Certified(7.0, "a rate")}), MODALITIES)
    bars = [t for t in bound.data if t.mode == "lines" and len(t.x) == 2 and t.x[0] == t.x[1]]
    assert [float(np.sinh(t.x[0])) for t in bars] == [pytest.approx(7.0)]
    assert "s is constant" in title(bracket_figure(replace(measured, brackets={}), MODALITIES))


def test_what_is_unreliable_or_contradicted_is_open(measured):
    pair, found = next(iter(measured.brackets.items()))
    assert all(not t.marker.symbol.endswith("-open") for t in points(bracket_figure(measured.only(pair), MODALITIES)))
    far = replace(found.upper, unreliable="outside its calibrated range")
    marked = replace(found, estimates={**found.estimates, far.name: far})
    open_ones = [t for t in points(bracket_figure(replace(measured, brackets={pair: marked}), MODALITIES))
                 if t.marker.symbol.endswith("-open")]  # fmt: skip
    assert len(open_ones) == 1 and "outside its calibrated range" in open_ones[0].hovertext
    void = bracket_figure(replace(measured, brackets={pair: replace(found, contradiction="lower above")}), MODALITIES)
    assert {t.marker.symbol for t in points(void) if t.marker.symbol.endswith("-open")} == {
        "square-open", "triangle-left-open"
    }  # fmt: skip
    assert "⚠" in void.layout.yaxis.ticktext[0]


def test_a_card_shows_seeds_null_fit_and_flags(measured):
    pair, found = next(iter(measured.brackets.items()))
    fig, e = estimate_card(pair, found, "infonce"), found.estimates["infonce"]
    np.testing.assert_allclose(np.sinh(points(fig)[0].x), e.by_seed)
    np.testing.assert_allclose(np.sinh(points(fig)[1].x), e.null)
    curves = [t for t in fig.data if t.xaxis == "x2"]
    assert len(curves) == 2 * len(e.curves) == 4 and curves[0].x == tuple(look[0] for look in e.curves[0])
    assert f"{e.value:.2f}" in title(fig) and all(flag.split()[0] in caption(fig) for flag in e.flags)
    assert "share of seeds whose q is linear" in caption(fig).lower()
    small = replace(e, interval=Interval(-0.01, -0.17, 0.05), by_seed=(-0.08, 0.05), null=(0.0,))
    near = estimate_card(pair, replace(found, estimates={**found.estimates, e.name: small}), e.name)
    assert near.layout.xaxis.ticktext == ("−0.1", "0")
    untrained = estimate_card(pair, found, "ksg")
    assert any("nothing is trained" in (note.text or "") for note in untrained.layout.annotations)


def test_calibration_puts_estimates_over_truth_with_the_identity_line(calibration):
    fig = calibration_figure(calibration)
    lines = [t for t in fig.data if t.mode == "lines"]
    assert len(lines) == 2 and all(np.allclose(t.x, t.y) for t in lines)
    drawn = [t for t in points(fig) if t.name == "infonce"]
    cases = [c for panel in calibration.panels for c in calibration.of(panel) if c.estimate.name == "infonce"]
    np.testing.assert_allclose(np.sinh(np.concatenate([t.x for t in drawn])), [c.truth for c in cases], atol=1e-9)
    symbols = np.concatenate([t.marker.symbol for t in drawn])
    assert [not s.endswith("-open") for s in symbols] == [c.passed for c in cases]
    assert title(fig) == calibration.finding and "No calibration" in title(calibration_figure(None))


def test_leaks_are_filled_and_counted(leaks):
    fig = leak_figure(leaks, MODALITIES)
    assert [t.marker.symbol for t in points(fig)] == ["circle-open", "square", "square", "circle"]
    assert title(fig) == leaks.finding and "from s in 1 of 2 places, private ones from z in 0 of 1" in leaks.finding
    bars = [t for t in fig.data if t.mode == "lines" and t.x[0] is not None and t.x[0] == t.x[1]]
    assert [bar.x[0] for bar in bars] == [leak.probe.chance for leak in leaks.probes]
    assert "no voice" in title(leak_figure(Leaks((), ("no voice",), CLIPS), MODALITIES))


def test_settings_show_every_run_and_the_mean_of_each(figures, runs):
    fig = figures["settings_figure"]
    on = runs.loc[runs["setting"] == "on in all layers", "score/x"].tolist()
    right = [t for t in fig.data if t.xaxis == "x2" and t.mode == "markers"]
    np.testing.assert_allclose(right[0].x, on)
    np.testing.assert_allclose(right[1].x, [np.mean(on)])
    left = [t for t in fig.data if t.xaxis == "x" and t.mode == "markers"]
    np.testing.assert_allclose(np.sinh(left[0].x), [0, 3, 6, 9], atol=1e-9)
    assert "need two" in title(settings_figure(runs[:1], {"score/x": "x"}))
    alone = settings_figure(runs[:2], {"score/x": "x"})  # one run a setting: no interval, no failure
    assert len([t for t in alone.data if t.mode == "markers"]) == 4


def test_relations_carry_their_correlation_and_say_when_there_is_none(figures, runs):
    fig = figures["relation_figure"]
    assert fig.layout.annotations[0].text.startswith("ρ = +0.9") and "1 of 1 panels" in title(fig)
    assert sum(len(t.x) for t in fig.data) == 12 and len(fig.data) == 3
    pair = ("mi/infonce/2", "score/x")
    none = relation_figure(runs, relate(runs, [pair]), {})
    assert "too few" in none.layout.annotations[0].text and sum(len(t.x) for t in none.data) == 0
    weak = RankRelation(Interval(0.1, -0.4, 0.6, n=12), 0.7, 1)
    assert "too few that differ for a rank correlation" in title(none)
    assert "0 of 1 panels" in title(relation_figure(runs, {pair: weak}, {}))
    assert "no run" in title(relation_figure(runs[:0], {}, {}))
