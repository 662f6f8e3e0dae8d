"""Figures of comparisons show each method once, with the intervals it has, and say why when there is nothing."""

import numpy as np
import pandas as pd
import pytest

from srcid.evaluation.comparison import Differences, Leader
from srcid.evaluation.figures.comparison import (
    ablation_figure,
    cost_figure,
    forest_figure,
    method_looks,
    reconstruction_figure,
    tradeoff_figure,
)
from srcid.evaluation.tables import NOTE, SAME_AS, paper_scores
from srcid.evaluation.tradeoff import Ablation, Quality
from srcid.statistics import Interval
from tests.house import caption, title

METHODS = ["dcid vq", "dcid rvq2", "dcid identity", "srcid vq"]


def quality(seeds=5):
    """As srcid.evaluation.tradeoff.quality makes it; no intervals with one seed, no bits for the identity."""
    rows = {}
    for place, name in enumerate(METHODS):
        middle = dict(across=60 + place, within=70 + 2 * place, reconstruction=0.2 - place / 100, ms_per_step=30,
                      parameters=0.5, memory=0.9, bits=np.nan if "identity" in name else 7 + place)  # fmt: skip
        wide = 2.0 if seeds > 1 else np.nan
        rows[name] = {
            (k, p): v + s * wide for k, v in middle.items() for p, s in (("mean", 0), ("low", -1), ("high", 1))
        }
        rows[name] |= {(k, "mean"): v for k, v in middle.items()}
    wins = Leader("srcid vq", Interval(63, 61, 65), ())
    unclear = Leader("srcid vq", Interval(76, 74, 78), ("dcid identity", "dcid rvq2", "dcid vq"))
    return Quality(pd.DataFrame.from_dict(rows, orient="index"), wins, unclear)


def pairs(**changes):
    rows = [
        dict(method=m, reference="dcid vq", task=t, direction=d, difference=2.0, low=1.0, high=3.0, p=0.01,
             p_holm=0.02 if m == "dcid rvq2" else 0.2, seeds=(0, 1, 2), missing=())
        for m in METHODS[1:] for t in ("classification", "average") for d in ("m → n", "m → m")
    ]  # fmt: skip
    return Differences(pd.DataFrame([row | changes for row in rows]), "dcid vq")


def ablation(sizes=(50, 200, 800), clubs=((), (1,), (2,), (1, 2))):
    keys = [(size, ()) for size in sizes] + [(200, off) for off in clubs if off]
    rows = [
        dict(family="srcid vq", codebook_size=size, club_off=off, direction=d, low=55.0, high=65.0, seeds=3,
             score=60 - len(off) - abs(size - 200) / 100)
        for size, off in keys for d in ("m → n", "m → m")
    ]  # fmt: skip
    best = Leader("L = 200", Interval(60, 55, 65), ("L = 50",))
    return Ablation(pd.DataFrame(rows), {"srcid vq": best} if len(sizes) > 1 else {})


def points(fig, name):
    return next(trace for trace in fig.data if (trace.name or "").startswith(name) and trace.x[0] is not None)


def test_a_method_keeps_its_look_and_variants_differ_from_it():
    looks = method_looks([*METHODS, "dcid rvq2, L=100", "srcid vq (only1)", "dcid lfq"])
    assert looks["dcid vq"]["color"] == looks["srcid vq"]["color"] == method_looks(["srcid vq"])["srcid vq"]["color"]
    assert looks["dcid vq"]["symbol"] == "circle" and looks["srcid vq (only1)"]["symbol"] == "diamond-open"
    assert looks["dcid rvq2, L=100"]["color"] == looks["dcid rvq2"]["color"]
    assert len({tuple(look.values()) for look in looks.values()}) == len(looks)


def test_the_tradeoff_shows_scores_bits_and_the_paper_apart():
    fig = tradeoff_figure(quality(), paper_scores(), SAME_AS, NOTE, "Digits, 20 runs.")
    point = points(fig, "dcid rvq2")
    assert (point.x[0], point.y[0]) == (72, 61) and (point.error_x.array[0], point.error_y.arrayminus[0]) == (2, 2)
    assert point.name == "dcid rvq2 (8.0 bits)" and point.marker.size > points(fig, "dcid vq").marker.size
    assert points(fig, "dcid identity").name.endswith("(not discrete)")
    [theirs] = [trace for trace in fig.data if trace.xaxis == "x2"]
    assert [t.strip() for t in theirs.text] == ["DCID (VQ)", "DCID (FSQ)", "DCID (RVQ-4)"]
    assert theirs.marker.color[0] == points(fig, "dcid vq").marker.color
    assert NOTE in caption(fig) and caption(fig).endswith("Digits, 20 runs.")
    assert title(fig) == (
        "Other modalities, m → n: srcid vq (63.0 [61.0, 65.0] %) scores highest; own modality, m → m: undecided "
        "between srcid vq (76.0 [74.0, 78.0] %) and dcid identity, dcid rvq2 and 1 more"
    )


def test_one_seed_has_no_bars():
    fig = tradeoff_figure(quality(seeds=1))
    point = points(fig, "dcid rvq2")
    assert point.error_x.visible is False and point.error_y.visible is False
    assert not [trace for trace in fig.data if trace.xaxis == "x2"]


def test_reconstruction_and_cost_show_every_method():
    fig = reconstruction_figure(quality())
    assert points(fig, "srcid vq").x[0] == pytest.approx(0.17) and "0.170 (srcid vq) to 0.200 (dcid vq)" in title(fig)
    nothing = quality()
    nothing.rows["reconstruction", "mean"] = np.nan
    assert "no val/recon" in reconstruction_figure(nothing).layout.title.text
    fig = cost_figure(quality(), "Digits.")
    assert len(fig.data) == 6 * len(METHODS) and {trace.y[0] for trace in fig.data} == set(METHODS)
    assert list(fig.layout.yaxis.categoryarray) == METHODS[::-1]
    for draw in (tradeoff_figure, cost_figure):
        assert "nothing to compare" in draw(Quality(quality().rows.iloc[:0])).layout.title.text


def test_the_forest_fills_what_stands_and_leaves_the_rest_open():
    fig = forest_figure(pairs(), margin=2.0, source="Digits.")
    across = next(trace for trace in fig.data if trace.marker.symbol[0].startswith("circle"))
    assert list(across.marker.symbol) == ["circle", "circle-open", "circle-open"]
    assert list(across.x) == [2, 2, 2] and list(across.error_x.array) == [1, 1, 1]
    assert [axis.title.text for axis in fig.select_xaxes()] == ["difference, points"] * 2
    assert list(fig.layout.yaxis.ticktext) == METHODS[1:]
    assert "4 of 12" in title(fig) and "less than 2 points" in caption(fig)
    shade = [shape for shape in fig.layout.shapes if shape.type == "rect"]
    assert [(s.x0, s.x1) for s in shade] == [(-2, 2)] * 2


def test_pairs_without_interval_or_without_partner():
    fig = forest_figure(pairs(low=np.nan, high=np.nan, p_holm=np.nan, seeds=(0,)))
    assert all(set(trace.error_x.array) == {0} for trace in fig.data) and "1 pair" in caption(fig)
    assert "nothing to pair" in forest_figure(pairs(difference=np.nan)).layout.title.text


def test_the_ablation_draws_sizes_bands_and_clubs_layers():
    fig = ablation_figure(ablation(), "Digits.")
    [curve] = [trace for trace in fig.data if trace.mode == "lines+markers" and trace.xaxis == "x" and trace.x[0]]
    assert list(curve.x) == [50, 200, 800] and curve.y[1] == 60
    [band] = [trace for trace in fig.data if trace.fill == "toself" and trace.xaxis == "x"]
    assert list(band.x) == [50, 200, 800, 800, 200, 50] and set(band.y) == {55, 65}
    assert fig.layout.xaxis.type == "log" and list(fig.layout.xaxis.ticktext) == ["50", "200", "800"]
    [across, within] = [trace for trace in fig.data if trace.xaxis == "x3"]
    assert list(across.y) == [60, 59, 59, 58] and across.marker.symbol == "circle" != within.marker.symbol
    expected = "Codebook size of srcid vq, m → n: undecided between L = 200 (60.0 [55.0, 65.0] %) and L = 50"
    assert title(fig) == expected
    assert "3 training seeds" in caption(fig)


def test_an_ablation_says_what_is_not_there_and_draws_no_panel_for_it():
    fig = ablation_figure(ablation(clubs=((),)))
    assert "No runs with CLUB switched off." in caption(fig) and len(list(fig.select_xaxes())) == 2
    fig = ablation_figure(ablation(sizes=(200,)))
    assert "No runs with several codebook sizes." in caption(fig) and len(list(fig.select_xaxes())) == 1
    nothing = ablation_figure(ablation(sizes=(200,), clubs=((),)))
    assert nothing.layout.title.text.startswith("No ablation") and not nothing.data
