"""Figures of mutual information say what was measured, and mark what may not be believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srcid.information.bracket import Settings, bracket
from srcid.information.calibration import calibrate, gaussian_pairs
from srcid.information.disentanglement import Comparison, Leak, Measurements, Variable
from srcid.information.figures.brackets import bracket_figure, estimate_card, training_information
from srcid.information.figures.calibration import calibration_figure
from srcid.information.figures.disentanglement import leak_figure, relation_figure, settings_figure
from srcid.information.figures.estimators import nats_ticks, squash
from srcid.information.leakage import leakage
from srcid.information.ranks import RankRelation, rank_relation
from srcid.style import INK, modality_colors
from tests.house import caption, check_house_style

SMALL = Settings(seeds=2, nulls=2, bootstrap=20, hidden=8, steps=20, check=10, patience=2, batch=32)
MODALITIES = ("first", "second")


@pytest.fixture(scope="module")
def measured():
    """One pair that shares 1.5 nats, one that shares none, and one of two modalities."""
    rng = np.random.default_rng(0)
    pairs = [Comparison("within", Variable("general", 1, m), Variable("specific", 1, m)) for m in MODALITIES]
    pairs.append(Comparison("across", *(Variable("general", 2, m) for m in MODALITIES)))
    data = [gaussian_pairs(90, 2, 1.5), rng.standard_normal((2, 90, 1, 2)), gaussian_pairs(90, 2, 1.0)]
    brackets = {pair: bracket(*xy, settings=SMALL) for pair, xy in zip(pairs, data, strict=True)}
    missing = {Comparison("within", Variable("general", 2, "first"), Variable("specific", 2, "first")): "s is constant"}
    return Measurements(brackets, missing, 90, 1, SMALL, "a run")


@pytest.fixture(scope="module")
def calibration():
    settings = replace(SMALL, seeds=1, q="linear")
    return calibrate(dims=(2, 24), strengths=(0.0, 2.0), clips=90, settings=settings)


@pytest.fixture(scope="module")
def leaks():
    rng = np.random.default_rng(0)
    label = rng.integers(3, size=90)
    x = 4 * np.eye(3)[label][:, None] + rng.standard_normal((90, 1, 3))
    plain = replace(SMALL, seeds=1)
    strong, none = leakage(x, label, settings=plain, factor="event"), leakage(x, rng.permutation(label), settings=plain)
    return [
        Leak(1, "first", "general", True, strong), Leak(1, "first", "specific", False, strong),
        Leak(2, "second", "specific", False, replace(none, factor="event")),
        Leak(1, "first", "general", False, replace(none, factor="voice")),
    ]  # fmt: skip


def records(count=12, slope=1.0):
    rng = np.random.default_rng(0)
    settings = ("on in all layers", "off in layer 1", "off in both")
    return [
        {"run": f"run {i}", "setting": settings[i % 3], "mi/infonce/1": float(i), "mi/infonce/2": float("nan"),
         "score/x": slope * i + rng.normal()}
        for i in range(count)
    ]  # fmt: skip


def metrics(waited=True):
    lines = []
    for step in range(5, 205, 5):
        line = {"step": step, "layers_open": 1 + (step > 100), "loss/total": 1.0}
        line |= {f"{q}/1/{m}": v for m in MODALITIES for q, v in (("mi", 300 / step), ("scale", 1.0), ("recon", 1.0))}
        if step <= 100:
            line |= {f"mi_smoothed/1/{m}": 8.0 for m in MODALITIES}
        else:
            line["opened_by/2"] = "longest wait" if waited else "settled"
            line |= {f"{q}/2/{m}": 2.0 for m in MODALITIES for q in ("mi", "scale", "recon")}
        lines.append(line)
    return lines


@pytest.fixture(scope="module")
def figures(measured, calibration, leaks):
    pair = next(iter(measured.brackets))
    rows = records()
    relation = {("mi/infonce/1", "score/x"): rank_relation(range(12), [r["score/x"] for r in rows], resamples=50)}
    return {
        "training_information": training_information(metrics(), MODALITIES, 2),
        "bracket_figure": bracket_figure(measured, MODALITIES),
        "estimate_card": estimate_card(pair, measured.brackets[pair], "club-exact"),
        "calibration_figure": calibration_figure(calibration),
        "leak_figure": leak_figure(leaks, MODALITIES),
        "settings_figure": settings_figure(rows, {"mi/infonce/1": "I(z; s)", "score/x": "x, across"}),
        "relation_figure": relation_figure(rows, list(relation), relation, {"score/x": "x, %"}),
    }


KINDS = (
    "training_information", "bracket_figure", "estimate_card", "calibration_figure", "leak_figure", "settings_figure",
    "relation_figure",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_keeps_the_house_style(figures, kind):
    assert set(figures) == set(KINDS)
    check_house_style(figures[kind])
    assert {trace.type for trace in figures[kind].data} <= {"scatter", "bar"}


def points(fig):
    return [t for t in fig.data if t.mode == "markers" and t.x[0] is not None]


def test_an_axis_of_nats_keeps_order_and_names_its_ticks():
    values = np.array([-50, -0.5, 0, 0.1, 3, 300])
    assert (np.diff(squash(values)) > 0).all()
    ticks = nats_ticks(-1, 30)
    assert ticks["ticktext"] == ["−1", "0", "1", "3", "10", "30"]
    np.testing.assert_allclose(np.sinh(ticks["tickvals"]), [-1, 0, 1, 3, 10, 30])


def test_training_shows_estimates_trigger_and_reason_of_the_opening():
    fig = training_information(metrics(), MODALITIES, 2)
    first = next(t for t in fig.data if t.name == "first" and t.xaxis == "x" and t.x[0] is not None)
    np.testing.assert_allclose(np.sinh(first.y), [300 / step for step in range(5, 205, 5)])
    assert first.line.color == modality_colors(MODALITIES)["first"]
    smoothed = next(t for t in fig.data if t.name == "first, smoothed")
    assert set(np.sinh(smoothed.y).round(6)) == {8.0}
    assert {shape.x0 for shape in fig.layout.shapes} == {105} and len(fig.layout.shapes) == 4
    assert "layer 2 opened at step 105 (the longest wait is over)" in " ".join(fig.layout.title.text.split("<br>"))
    fell = training_information(metrics(waited=False), MODALITIES, 2).layout.title.text
    assert "has stopped falling in every modality" in " ".join(fell.split("<br>"))
    off = [{k: v for k, v in line.items() if not k.startswith("mi")} for line in metrics()]
    assert "CLUB was off" in training_information(off, MODALITIES, 2).layout.title.text


def test_brackets_show_each_estimate_with_its_interval_and_null(measured):
    fig = bracket_figure(measured, MODALITIES)
    shown = [name for name in next(iter(measured.brackets.values())).estimates if "sampled" not in name]
    shown.remove("club-published")
    assert len(points(fig)) == 3 * len(shown)
    found = measured.brackets[next(iter(measured.brackets))]
    assert any(np.isclose(np.sinh(t.x[0]), found.lower.value) for t in points(fig))
    assert len(fig.layout.shapes) == 3
    assert all(s.x0 < 0 < s.x1 for s in fig.layout.shapes)
    colors = modality_colors(MODALITIES)
    assert {t.marker.color for t in points(fig)} == {*colors.values(), INK}  # grey: a pair of two modalities
    assert "s is constant" in caption(fig) and "a run, 90 clips" in caption(fig)
    assert fig.layout.title.text.startswith("2 of 3 pairs surely share information")
    assert "s is constant" in bracket_figure(replace(measured, brackets={})).layout.title.text


def test_what_is_outside_the_tested_range_or_contradicted_is_open(measured, calibration):
    pair, found = next(iter(measured.brackets.items()))
    assert all(not t.marker.symbol.endswith("-open") for t in points(bracket_figure(measured.only(pair))))
    flagged = replace(found.upper, flags=("outside the tested range: too many dimensions",))
    estimates = {**found.estimates, flagged.name: flagged}
    marked = replace(measured.only(pair), brackets={pair: replace(found, upper=flagged, estimates=estimates)})
    open_ones = [t for t in points(bracket_figure(marked)) if t.marker.symbol.endswith("-open")]
    assert len(open_ones) == 1 and "too many dimensions" in open_ones[0].hovertext
    below = replace(found.upper, value=-3.0, interval=(-4.0, -2.0))
    void = replace(found, estimates={**found.estimates, below.name: below}, consistent=False)
    fig = bracket_figure(replace(measured.only(pair), brackets={pair: void}))
    hover = [t.hovertext for t in points(fig) if t.marker.symbol.endswith("-open")]
    assert len(hover) == 1 and "void as an upper bound" in hover[0]
    assert "⚠" in fig.layout.yaxis.ticktext[0]


def test_a_card_shows_seeds_null_fit_and_flags(measured):
    pair, found = next(iter(measured.brackets.items()))
    fig = estimate_card(pair, found, "club-exact")
    e = found.estimates["club-exact"]
    assert list(points(fig)[0].x) == list(e.by_seed) and list(points(fig)[1].x) == list(e.null)
    curves = [t for t in fig.data if t.xaxis == "x2"]
    assert len(curves) == 2 * len(e.curves) == 4
    np.testing.assert_array_equal(curves[0].x, e.curves[0][:, 0])
    assert f"{e.value:.2f} nats" in fig.layout.title.text
    assert all(flag.split()[0] in caption(fig) for flag in e.flags)
    untrained = estimate_card(pair, found, "ksg-pca")
    assert any("nothing is trained" in (note.text or "") for note in untrained.layout.annotations)


def test_calibration_puts_estimates_over_truth_with_the_identity_line(calibration):
    fig = calibration_figure(calibration)
    lines = [t for t in fig.data if t.mode == "lines"]
    assert len(lines) == 2 and all(np.allclose(t.x, t.y) for t in lines)
    cases = [t for t in points(fig) if t.name == "infonce"]
    rows = calibration.estimator == "infonce"
    drawn = np.concatenate([np.stack([np.sinh(t.x), np.sinh(t.y)]) for t in cases], axis=1)
    np.testing.assert_allclose(drawn, [calibration.truth[rows], calibration.estimate[rows]], atol=1e-9)
    flat = np.concatenate([[symbol.endswith("-open") for symbol in t.marker.symbol] for t in cases])
    np.testing.assert_array_equal(~flat, calibration.passed()[rows])
    assert "no calibration" in calibration_figure(calibration, ["ross"]).layout.title.text.lower()


def test_leaks_are_filled_and_counted(leaks):
    fig = leak_figure(leaks, MODALITIES)
    symbols = [t.marker.symbol for t in points(fig)]
    assert symbols == ["circle-open", "square", "square", "circle"]
    title = " ".join(fig.layout.title.text.split("<br>"))
    assert "from specific features in 1 of 2 places, private ones from general features in 0 of 1" in title
    bars = [t for t in fig.data if t.mode == "lines" and t.x[0] is not None and t.x[0] == t.x[1]]
    assert [bar.x[0] for bar in bars] == [leak.probe.chance for leak in leaks]
    assert "no voice" in leak_figure([], MODALITIES, ["no voice"]).layout.title.text


def test_settings_show_every_run_and_the_mean_of_each(figures):
    fig, rows = figures["settings_figure"], records()
    on = [r["score/x"] for r in rows if r["setting"] == "on in all layers"]
    right = [t for t in fig.data if t.xaxis == "x2" and t.mode == "markers"]
    np.testing.assert_allclose(right[0].x, on)
    np.testing.assert_allclose(right[1].x, [np.mean(on)])
    left = [t for t in fig.data if t.xaxis == "x" and t.mode == "markers"]
    np.testing.assert_allclose(np.sinh(left[0].x), [0, 3, 6, 9], atol=1e-9)
    assert "need two settings" in settings_figure(rows[:1], {"score/x": "x"}).layout.title.text
    alone = settings_figure(rows[:2], {"score/x": "x"})  # one run a setting: no interval, no failure
    assert len([t for t in alone.data if t.mode == "markers"]) == 4


def test_relations_carry_their_correlation_and_say_when_there_is_none(figures):
    rows = records()
    fig = figures["relation_figure"]
    assert fig.layout.annotations[0].text.startswith("ρ = +0.9") and "1 of 1 panels" in fig.layout.title.text
    assert sum(len(t.x) for t in fig.data) == 12 and len(fig.data) == 3
    pair = ("mi/infonce/2", "score/x")
    none = relation_figure(rows, [pair], {pair: "found 0 runs"}, {})
    assert "too few" in none.layout.annotations[0].text and sum(len(t.x) for t in none.data) == 0
    weak = RankRelation(0.1, (-0.4, 0.6), 0.7, 12, 1, {})
    assert "0 of 1 panels" in relation_figure(rows, [pair], {pair: weak}, {}).layout.title.text
    assert "no run" in relation_figure([], [], {}, {}).layout.title.text
