"""Scores on labels small enough to count by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from srcid.evaluation.metrics import (
    clip_class,
    event_f1,
    micro_scores,
    segment_f1,
    with_background,
)


def timeline(*classes):
    """One clip from strings of 0 and 1, a string per class: [1, T, C]."""
    return np.array([[[symbol == "1" for symbol in line] for line in classes]]).transpose(0, 2, 1)


def test_background_is_where_no_event_is():
    labels = with_background(timeline("0110", "0010"))
    np.testing.assert_array_equal(labels[0, :, 2], [True, False, False, True])


def test_a_clip_with_two_classes_is_the_larger_of_its_first_ones():
    events = np.concatenate(
        [timeline("1000", "0010", "0000"), timeline("0100", "0100", "0000"), timeline("0000", "0000", "0000")]
    )
    np.testing.assert_array_equal(clip_class(events), [1, 0, -1])


def test_micro_scores_count_only_unmasked_steps_above_the_threshold():
    truth = timeline("1100", "0011")
    probabilities = np.where(truth, 0.9, 0.5)
    assert vars(micro_scores(probabilities, truth)) == {"precision": 100, "recall": 100, "f1": 100}
    probabilities[0, 0] = [0.1, 0.8]
    worse = micro_scores(probabilities, truth)
    assert (worse.precision, worse.recall, worse.f1) == (75, 75, 75)
    mask = np.array([[False, True, True, True]])
    assert micro_scores(probabilities, truth, mask=mask).f1 == 100


def test_segment_f1_averages_over_the_classes_of_a_clip_then_over_clips():
    truth = np.concatenate([timeline("1100", "0000", "0000"), timeline("0000", "0000", "0000")])
    guess = np.concatenate([timeline("1000", "0010", "0000"), timeline("0000", "0000", "0000")])
    # clip 1: class 0 has F1 2/3, class 1 has 0, class 2 does not occur; clip 2: nothing there, nothing found
    assert segment_f1(guess, truth) == pytest.approx((100 * (2 / 3 + 0) / 2 + 100) / 2)


@pytest.mark.parametrize(("guess", "expected"), [
    ("0111100", 100),  # the event itself
    ("0011000", 100),  # half of it: intersection 2, union 4
    ("0100000", 0),  # a quarter
    ("1111111", 100),  # union 7, intersection 4
    ("0101100", 200 / 3),  # broken in two: one piece reaches half, one is wrong
    ("0000000", 0),
])  # fmt: skip
def test_event_f1_matches_runs_that_share_half_of_their_union(guess, expected):
    assert event_f1(timeline(guess), timeline("0111100")) == pytest.approx(expected)


def test_event_f1_forgives_what_segment_f1_does_not():
    truth, guess = timeline("1111"), timeline("1110")
    assert event_f1(guess, truth) == 100
    assert segment_f1(guess, truth) == pytest.approx(600 / 7)
    assert segment_f1(guess, truth, mask=np.array([[True, True, True, False]])) == 100


def _runs(row):
    """Runs of true steps as sets of steps, found one step at a time."""
    runs, current = [], set()
    for step, on in enumerate([*row, False]):
        if on:
            current.add(step)
        elif current:
            runs.append(current)
            current = set()
    return runs


@settings(max_examples=100, deadline=None)
@given(arrays(bool, (2, 3, 7, 2), elements=st.booleans()))
def test_event_f1_equals_the_explicit_matching_of_runs(both):
    guess, truth = both
    clips = []
    for g, t in zip(guess, truth, strict=True):
        scores = []
        for c in range(t.shape[-1]):
            found, real = _runs(g[:, c]), _runs(t[:, c])
            right = sum(any(len(f & r) / len(f | r) >= 0.5 for r in real) for f in found)
            if found or real:
                scores.append(200 * right / (len(found) + len(real)))
        clips.append(np.mean(scores) if scores else 100)
    assert event_f1(guess, truth) == pytest.approx(np.mean(clips))
