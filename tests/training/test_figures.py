"""Curves of training: what they hold, and that updating them equals drawing them anew."""

import pytest

from srcid.style import modality_colors
from srcid.training.figures import headline, openings, series, training_curves, update_training_curves
from tests.house import check_house_style, title

MODALITIES = ("first", "second", "third")


def metrics(steps=400, opened=200):
    """Lines as training writes them, every fifth step, with validation after each hundred."""
    lines = []
    for step in range(5, steps + 1, 5):
        layers = 1 + (step > opened)
        line = {"step": step, "epoch": step / 100, "loss/total": 100 / step, "layers_open": layers}
        for k in range(1, layers + 1):
            for m in MODALITIES:
                line |= {f"{q}/{k}/{m}": k + step / 100 for q in ("recon", "mi", "scale", "perplexity", "used")}
            line[f"agreement/{k}/first-second"] = 0.25
        if layers == 1:
            line |= {f"mi_smoothed/1/{m}": 3.0 for m in MODALITIES}
        else:
            line["opened_by/2"] = "settled"
        lines.append(line)
        if step % 100 == 0:
            lines.append({"step": step, "epoch": step / 100, "val/recon/1/first": 9.0})
    return lines


def named(fig, name):
    return [trace for trace in fig.data if trace.name == name]


def test_curves_keep_the_house_style():
    check_house_style(training_curves(metrics(), caption="Parameters of the run."))


def test_series_average_in_bins_and_leave_out_what_is_not_finite():
    lines = [{"step": s, "a": float(s)} for s in range(1, 11)] + [
        {"step": 11, "a": float("nan")},
        {"step": 12},
    ]
    assert series(lines, "a", points=100) == ([float(s) for s in range(1, 11)],) * 2
    steps, values = series(lines, "a", points=5)
    assert steps == values == [1.5, 3.5, 5.5, 7.5, 9.5]
    assert series(lines, "b") == ([], [])


def test_the_opening_of_a_layer_is_found_and_marked():
    assert openings(metrics()) == {2: 205}
    assert openings([{"step": 0, "layers_open": 2}]) == {}  # open from the start: nothing to mark
    fig = training_curves(metrics())
    assert {shape.x0 for shape in fig.layout.shapes} == {205}
    assert len(fig.layout.shapes) == 14
    assert "layer 2 opened by step 205 (information has stopped falling" in title(fig)
    assert not training_curves(metrics(opened=1000)).layout.shapes


def test_the_headline_says_loss_and_agreement():
    text = headline(metrics(opened=1000), MODALITIES)
    assert "loss 20 → 0.25;" in text and "25%" in text
    assert "waiting" in headline([], MODALITIES)
    assert "share their layer-1 code in 25% of steps" in text  # not in 25% to 25%


def test_the_loss_is_told_from_where_a_layer_joined():
    """It adds terms of its own: a loss from the first step on would rise where everything improves."""
    lines = [
        line | {"loss/total": line["loss/total"] + 40 * (line["step"] > 200)} for line in metrics() if len(line) > 3
    ]
    text = headline(lines, MODALITIES)
    assert text.startswith(f"Step 400: loss {40 + 100 / 205:.3g} → {40.25:.3g} since layer 2 opened; ")


def test_curves_hold_the_metrics_in_the_colours_of_their_modalities():
    fig = training_curves(metrics(), points=1000)
    colors = modality_colors(MODALITIES)
    for m in MODALITIES:
        curve = next(trace for trace in named(fig, m) if trace.yaxis == "y2")  # reconstruction
        assert curve.line.color == colors[m] and curve.line.dash == "solid"
        assert curve.y[0] == pytest.approx(1.05) and len(curve.y) == 80
        assert any(set(trace.y) == {3.0} and trace.line.width > 2 for trace in named(fig, m))  # the smoothed MI
    assert list(named(fig, "validation")[0].y) == [9.0] * 4
    second = [trace for trace in named(fig, "first") if trace.line.dash == "dash"]
    assert len(second) == 8 and min(second[0].x) == 205


def test_updating_gives_the_figure_that_drawing_anew_gives():
    early = training_curves([], MODALITIES, layers=2)
    assert all(not trace.x for trace in early.data if trace.x != (None,))
    update_training_curves(early, metrics(), MODALITIES, layers=2)
    assert early.to_plotly_json() == training_curves(metrics(), MODALITIES, layers=2).to_plotly_json()


def test_modalities_and_layers_are_read_from_the_metrics():
    assert training_curves(metrics()).to_plotly_json() == training_curves(metrics(), MODALITIES, 2).to_plotly_json()


def test_long_runs_stay_light():
    fig = training_curves(metrics(steps=20_000), points=100)
    assert max(len(trace.x) for trace in fig.data) <= 101
    assert sum(len(trace.x) for trace in fig.data) < 10_000
