"""Scores of probes: where they lie, with intervals and chance."""

import json

import pandas as pd

from srcid.evaluation.figures.scores import score_figure
from srcid.evaluation.results import ProbeResults
from tests.house import caption, check_house_style, title

MODALITIES = ("first", "second", "third")


def summary(**changes):
    rows = [
        dict(
            task=task, representation=name, train=a, test=b, same=a == b, metric="accuracy",
            score=score, seed_low=score - 1, seed_high=score + 1, clip_low=score - 3, clip_high=score + 3,
            seeds=5, clips=80, chance=chance,
        )
        for task, chance in (("classification", 10.0), ("localisation", 30.0))
        for name in ("all", "only1", "continuous")
        for a in MODALITIES
        for b in MODALITIES
        for score in [80.0 if a == b else 50.0]
    ]  # fmt: skip
    return pd.DataFrame([row | changes for row in rows])


def scatters(fig, mode):
    return [trace for trace in fig.data if trace.type == "scatter" and trace.mode == mode]


def test_scores_keep_the_house_style():
    check_house_style(score_figure(summary()))


def test_scores_lie_where_the_summary_says_with_intervals_and_chance():
    fig = score_figure(summary())
    dots = scatters(fig, "markers")
    assert len(dots) == 6 and all(len(trace.x) == 9 for trace in dots)
    assert {shape.x0 for shape in fig.layout.shapes} == {10.0, 30.0}
    thick = [trace for trace in fig.data if trace.line.width == 3]
    assert {tuple(thick[0].x[i : i + 2]) for i in range(0, 27, 3)} == {(49.0, 51.0), (79.0, 81.0)}
    assert "50 % [47, 53] across modalities, 80 % [77, 83] within (chance 10 %)" in title(fig)
    assert "5 probe seeds" in caption(fig)
    rows = [text.count("first") for text in fig.layout.yaxis.ticktext]
    assert rows.index(2) >= 6  # same-modality directions come last


def test_more_than_three_tasks_take_another_row():
    part = summary()
    task = part["task"].iloc[0]
    many = pd.concat([part[part["task"] == task].assign(task=name, metric="f1") for name in "abcd"])
    one, two = score_figure(part), score_figure(many)
    assert two.layout.yaxis4.domain[1] < two.layout.yaxis.domain[0] and two.layout.height > 1.6 * one.layout.height
    assert [note.text for note in two.layout.annotations][3] == "d, F1"
    assert {trace.xaxis for trace in two.data} == {"x", "x2", "x3", "x4"}


def test_a_single_seed_has_no_interval_over_seeds_and_still_draws():
    fig = score_figure(summary(seed_low=float("nan"), seed_high=float("nan")))
    assert len(scatters(fig, "markers")) == 6
    json.loads(fig.to_json())


def test_no_scores_are_said_in_words():
    assert title(score_figure(summary().iloc[:0])).startswith("No scores: the notes")
    nothing = ProbeResults((), {}, (), MODALITIES, {}, {}, ("split 'test' is missing.", "Mind the gap."))
    fig = score_figure(nothing.frame(), MODALITIES, nothing.notes)
    assert title(fig) == "No scores: split 'test' is missing. Mind the gap."
    assert not fig.data
