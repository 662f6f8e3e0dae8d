"""Scores of predictions against labels, in percent; arrays in, numbers out.

Event labels are boolean, ``[clips, steps, classes]``. Where a metric counts background as a class of its own
(the published localisation score does) it is the last column: see :func:`with_background`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from srcid.params import suggest
from srcid.problems import ProblemsError


class EvaluationError(ProblemsError):
    """Labels, splits or features that cannot be scored; the message says what was found and needed."""


def unknown(what: str, names: Iterable[str], known: Collection[str]) -> list[str]:
    """Say which ``names`` are none of the ``known`` ones, which of these was perhaps meant, and what there is."""
    return [
        f"{what} '{name}' is unknown{suggest(name, list(known))}; there are {', '.join(known)}"
        for name in names
        if name not in known
    ]


@dataclass(frozen=True)
class MicroScores:
    """Micro-averaged precision, recall and F1 in percent; 0 where nothing is predicted or true."""

    precision: float
    recall: float
    f1: float


def with_background(events: np.ndarray) -> np.ndarray:
    """Append a last column that is true where no event is: ``[..., C]`` to ``[..., C + 1]``."""
    events = np.asarray(events, bool)
    return np.concatenate([events, ~events.any(-1, keepdims=True)], axis=-1)


def clip_class(events: np.ndarray, empty: int = -1) -> np.ndarray:
    """Return the one class ``[N]`` that stands for a clip with events ``[N, T, C]``.

    The published rule: the first true class of each step, then the largest of these numbers over time. It is
    the clip's class where the clip has one. Clips without any event get ``empty``; published code gives them
    0.
    """
    events = np.asarray(events, bool)
    return np.where(events.any((-1, -2)), events.argmax(-1).max(-1), empty)


def micro_scores(probabilities: np.ndarray, labels: np.ndarray, mask: np.ndarray | None = None) -> MicroScores:
    """Return micro precision, recall and F1 over all cells of ``[..., C]`` with a probability strictly above 0.5.

    ``mask`` ``[...]`` leaves out the steps where it is false.
    """
    predicted, labels = np.asarray(probabilities) > 0.5, np.asarray(labels, bool)
    hits, guesses, truths = cell_counts(predicted, labels, mask).sum(tuple(range(labels.ndim - 1)))
    parts = (hits, guesses), (hits, truths), (2 * hits, guesses + truths)
    return MicroScores(*(float(_percent(part, whole)) for part, whole in parts))


def cell_counts(predicted: np.ndarray, labels: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Count (hits, predictions, truths) over the last axis: boolean ``[..., C]`` to integer ``[..., 3]``."""
    counts = np.stack([(predicted & labels).sum(-1), predicted.sum(-1), labels.sum(-1)], axis=-1)
    return counts if mask is None else counts * np.asarray(mask, bool)[..., None]


def segment_f1(predicted: np.ndarray, labels: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return AVVP's segment-level F1 in percent (Tian et al., ECCV 2020): one segment is one step.

    Per clip and class, F1 over its steps; averaged over the classes that are true or predicted in the clip
    (a clip with neither scores 100), then over clips. ``[N, T, C]`` foreground classes, without background.
    """
    predicted, labels = _masked(predicted, labels, mask)
    return _clip_f1((predicted & labels).sum(1), predicted.sum(1), labels.sum(1))


def event_f1(predicted: np.ndarray, labels: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return AVVP's event-level F1 in percent: an event is a run of consecutive true steps of one class.

    A predicted event is right when its intersection over union with a true one reaches 0.5, so that an event has at
    most one partner. Averaged like :func:`segment_f1`.
    """
    predicted, labels = _masked(predicted, labels, mask)
    clips, _, classes = labels.shape
    guess, guess_owner, guess_length = _runs(predicted)
    truth, truth_owner, truth_length = _runs(labels)
    both = (guess >= 0) & (truth >= 0)
    pairs, shared = np.unique(np.stack([guess[both], truth[both]]), axis=1, return_counts=True)
    union = guess_length[pairs[0]] + truth_length[pairs[1]] - shared
    right = guess_owner[pairs[0][2 * shared >= union]]
    owners = [right, guess_owner, truth_owner]
    return _clip_f1(*(np.bincount(owner, minlength=clips * classes).reshape(clips, classes) for owner in owners))


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return 100 part / whole, and 0 where the whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return 100.0 * np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def _masked(predicted: np.ndarray, labels: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    predicted, labels = np.asarray(predicted, bool), np.asarray(labels, bool)
    if predicted.shape != labels.shape or labels.ndim != 3:
        raise EvaluationError(f"found predictions {predicted.shape} and labels {labels.shape}; need both [N, T, C]")
    if mask is None:
        return predicted, labels
    keep = np.asarray(mask, bool)[..., None]
    return predicted & keep, labels & keep


def _runs(events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the runs of true steps in ``[N, T, C]``: run at each cell (-1: none), owners, lengths."""
    clips, steps, classes = events.shape
    rows = events.transpose(0, 2, 1).reshape(clips * classes, steps)
    starts = rows & ~np.pad(rows, ((0, 0), (1, 0)))[:, :-1]
    number = np.where(rows, np.cumsum(starts).reshape(rows.shape) - 1, -1)
    return number, np.nonzero(starts)[0], np.bincount(number[rows], minlength=int(starts.sum()))


def _clip_f1(hits: np.ndarray, guesses: np.ndarray, truths: np.ndarray) -> float:
    """Average F1 over the occurring classes of each clip, then over clips; counts ``[N, C]``."""
    occurs = guesses + truths > 0
    total = (_percent(2 * hits, guesses + truths) * occurs).sum(-1)
    classes = occurs.sum(-1)
    return float(np.mean(np.where(classes > 0, total / np.maximum(classes, 1), 100.0)))
