"""What lies behind a score: classes, their confusion, the threshold, single clips. Arrays in, labelled results out.

All of it is read off the predictions that ``probes.fit_probes`` keeps: those of the first probe seed.
Directions are taken together, ``across`` modalities or ``within`` one; intervals are of a bootstrap over clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from srcid.evaluation.inputs import Codes
from srcid.evaluation.metrics import EvaluationError, with_background
from srcid.evaluation.probes import ProbeResults, ProbeScore
from srcid.statistics import bootstrap_weights

Where = Literal["across", "within"]
BACKGROUND = "background"
REPLICATES = 500


@dataclass(frozen=True)
class ClassScores:
    """F1 of each class, percent.

    Attributes:
        classes: names ``[C]``; localisation has ``background`` last.
        across, within: F1 of probes on other modalities than their own, and on their own: rows score, low and high of
            the 95 % interval over clips, ``[3, C]``; NaN where a class neither occurs nor is predicted.
        support: scored clips (classification) or steps (localisation) of each class, in one modality ``[C]``.
        task, representation, clips: what was scored.
    """

    classes: tuple[str, ...]
    across: np.ndarray
    within: np.ndarray
    support: np.ndarray
    task: str
    representation: str
    clips: int


@dataclass(frozen=True)
class Confusion:
    """How often each class is taken for each other.

    Attributes:
        classes: names ``[C]``.
        counts: true class (rows) by predicted class (columns), summed over directions, ``[C, C]``.
        unit: what was counted: clips, or steps at which exactly one class is true.
        task, representation, where: what was scored.
        directions: how many directions were summed.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    unit: str
    task: str
    representation: str
    where: Where
    directions: int

    def top(self, k: int = 5) -> list[tuple[str, str, float]]:
        """Return the ``k`` most frequent confusions: (true, taken for, share of the true class's)."""
        share = self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)
        np.fill_diagonal(share, 0)
        order = np.argsort(-share, axis=None, kind="stable")[:k]
        pairs = [np.unravel_index(flat, share.shape) for flat in order]
        return [(self.classes[a], self.classes[b], float(share[a, b])) for a, b in pairs if share[a, b] > 0]


@dataclass(frozen=True)
class ThresholdCurve:
    """Localisation scores at other thresholds than 0.5, and whether probabilities mean what they say.

    Attributes:
        threshold: ``[n]``.
        precision, recall, f1: micro, background counted as a class; rows score, low, high of the 95 % interval over
            clips; percent, ``[3, n]``.
        best: threshold of the highest F1.
        probability, observed: mean predicted probability and share of true cells in bins of the former, 0 to 1;
            NaN for empty bins.
        cells: predictions in each bin.
        error: expected calibration error, 0 to 1: mean distance of the two, weighted by cells.
        representation, where, clips, directions: what was scored.
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    best: float
    probability: np.ndarray
    observed: np.ndarray
    cells: np.ndarray
    error: float
    representation: str
    where: Where
    clips: int
    directions: int


@dataclass(frozen=True)
class Timeline:
    """One clip: what is true, what probes say, and the codes they read.

    Attributes:
        clip: row of the table; ``name``: its id.
        classes: the event classes that are true or predicted somewhere in the clip ``[C]``.
        truth: ``[T, C]``.
        said: by direction (train, test): predicted events ``[T, C]``.
        present: by modality, steps that exist ``[T]``.
        codes: by (layer, modality), one symbol a step ``[T]``, -1 where there is none; empty without a quantiser.
        f1: micro F1 of the clip's events, mean over directions across modalities, percent.
        quantile: place of that F1 among all scored clips, 0 (worst) to 1.
        modalities: of the table, in its order.
        representation: what the probes read.
    """

    clip: int
    name: str
    classes: tuple[str, ...]
    truth: np.ndarray
    said: dict[tuple[str, str], np.ndarray]
    present: dict[str, np.ndarray]
    codes: dict[tuple[int, str], np.ndarray]
    f1: float
    quantile: float
    modalities: tuple[str, ...]
    representation: str


def class_scores(
    results: ProbeResults, table: Codes, task: str = "localisation", representation: str = "all"
) -> ClassScores:
    """Return the F1 of each class, for classification over clips and for localisation over steps.

    Args:
        table: the one that the probes of ``task`` were fitted on.

    Raises:
        EvaluationError: no such scores.
    """
    names = _names(table, task)
    both, support, clips = [], np.zeros(len(names), int), 0
    for where in ("across", "within"):
        scores = _kept(results, task, representation, where)
        rows = np.unique(np.concatenate([s.rows for s in scores])) if scores else np.zeros(0, int)
        counts = np.zeros((len(rows), len(names), 3))
        for s in scores:
            said, truth = _cells(s, table)
            found = np.stack([said & truth, said, truth], axis=-1).sum(1)
            counts[np.searchsorted(rows, s.rows)] += found
            if where == "within" or not support.any():
                support, clips = found[..., 2].sum(0), len(s.rows)
        both.append(_resampled(counts, lambda hits, guesses, truths: (2 * hits, guesses + truths)))
    return ClassScores(names, both[0], both[1], support, task, representation, clips)


def class_confusion(
    results: ProbeResults,
    table: Codes,
    task: str = "classification",
    representation: str = "all",
    where: Where = "across",
) -> Confusion:
    """Count true against predicted classes. Localisation counts steps of one class, by their likeliest class.

    Raises:
        EvaluationError: no such scores.
    """
    names = _names(table, task)
    scores = _kept(results, task, representation, where)
    if not scores:
        raise EvaluationError(f"found no scores of {task}, {representation}, {where} modalities; need one direction")
    counts = np.zeros((len(names), len(names)), int)
    for s in scores:
        _, truth = _cells(s, table)
        likeliest = s.prediction[:, None] if task == "classification" else s.prediction.argmax(-1)
        one = truth.sum(-1) == 1
        np.add.at(counts, (truth.argmax(-1)[one], likeliest[one]), 1)
    unit = "clips" if task == "classification" else "steps of exactly one class"
    return Confusion(names, counts, unit, task, representation, where, len(scores))


def threshold_calibration(
    results: ProbeResults,
    table: Codes,
    task: str = "localisation",
    representation: str = "all",
    where: Where = "across",
    thresholds: Sequence[float] = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2)),
    bins: int = 10,
) -> ThresholdCurve:
    """Return precision, recall and F1 over thresholds, and a reliability diagram of the probabilities.

    Raises:
        EvaluationError: no such scores, or a task without probabilities.
    """
    scores = _kept(results, task, representation, where)
    if not scores or scores[0].prediction.ndim != 3:
        raise EvaluationError(f"found no probabilities of {task}, {representation}, {where} modalities")
    rows = np.unique(np.concatenate([s.rows for s in scores]))
    counts = np.zeros((len(rows), len(thresholds), 3))
    said, right, cells = np.zeros(bins), np.zeros(bins), np.zeros(bins, int)
    for s in scores:
        probability = s.prediction.astype(np.float32)
        present = np.asarray(table.masks[s.test], bool)[s.rows][..., None]
        truth = with_background(_events(table)[s.rows]) & present
        place = np.searchsorted(rows, s.rows)
        for i, threshold in enumerate(thresholds):
            above = (probability > threshold) & present
            counts[place, i] += np.stack([above & truth, above, truth], axis=-1).sum((1, 2))
        keep = np.broadcast_to(present, truth.shape)
        number = np.minimum((probability[keep] * bins).astype(int), bins - 1)
        said += np.bincount(number, probability[keep], bins)
        right += np.bincount(number, truth[keep], bins)
        cells += np.bincount(number, minlength=bins)
    share = np.where(cells > 0, 1 / np.maximum(cells, 1), np.nan)
    gap = np.abs(said - right).sum() / cells.sum()
    f1 = _resampled(counts, lambda hits, guesses, truths: (2 * hits, guesses + truths))
    return ThresholdCurve(
        np.asarray(thresholds, float),
        _resampled(counts, lambda hits, guesses, truths: (hits, guesses)),
        _resampled(counts, lambda hits, guesses, truths: (hits, truths)),
        f1, float(thresholds[int(np.nanargmax(f1[0]))]), said * share, right * share, cells, float(gap),
        representation, where, len(rows), len(scores),
    )  # fmt: skip


def timelines(
    results: ProbeResults,
    table: Codes,
    clips: Sequence[int] = (),
    task: str = "localisation",
    representation: str = "all",
) -> tuple[Timeline, ...]:
    """Return the timelines of ``clips`` (rows of the table), or of a good, a middling and a bad one.

    Good, middling and bad are the 90 %, 50 % and 10 % quantiles of the clips' F1 across modalities.

    Raises:
        EvaluationError: no such scores, or clips that were not scored.
    """
    scores = [s for s in results.select(task=task, representation=representation, seed=0) if s.prediction is not None]
    across = [s for s in scores if s.train != s.test] or scores
    if not scores:
        raise EvaluationError(f"found no scores of {task}, {representation}")
    rows = np.unique(np.concatenate([s.rows for s in across]))
    total, asked = np.zeros(len(rows)), np.zeros(len(rows), int)
    for s in across:
        said, truth = (cells[..., :-1].sum((1, 2)) for cells in _cells(s, table))
        hits = np.logical_and(*_cells(s, table))[..., :-1].sum((1, 2))
        place = np.searchsorted(rows, s.rows)
        total[place] += 2 * hits / np.maximum(said + truth, 1)
        asked[place] += 1
    f1 = 100 * total / asked
    order = np.argsort(f1, kind="stable")
    quantile = np.empty(len(rows))
    quantile[order] = np.arange(len(rows)) / max(len(rows) - 1, 1)
    unknown = sorted(set(map(int, clips)) - set(rows.tolist()))
    if unknown:
        raise EvaluationError(f"found clips {unknown}, which were not scored; need rows such as {rows[:3].tolist()}")
    chosen = list(clips) or [int(rows[order[round(q * (len(rows) - 1))]]) for q in (0.9, 0.5, 0.1)]
    return tuple(
        _timeline(clip, scores, table, float(f1[i]), float(quantile[i]), representation)
        for clip in chosen
        for i in [int(np.searchsorted(rows, clip))]
    )


def _timeline(
    clip: int, scores: Sequence[ProbeScore], table: Codes, f1: float, quantile: float, representation: str
) -> Timeline:
    truth = _events(table)[clip]
    said = {
        (s.train, s.test): s.prediction[i, :, :-1] > 0.5
        for s in scores
        for i in np.flatnonzero(s.rows == clip)
    }  # fmt: skip
    shown = np.flatnonzero(np.logical_or.reduce([truth, *said.values()]).any(0))
    names = table.label_info["event"].classes
    codes = {}
    if getattr(table, "stages", 1):
        codes = {(k, m): table.code(k, m)[clip] for k in range(1, table.layers + 1) for m in table.modalities}
    ids = getattr(table, "ids", ())
    return Timeline(
        int(clip), str(ids[clip]) if len(ids) else "", tuple(str(names[c]) for c in shown), truth[:, shown],
        {pair: steps[:, shown] for pair, steps in said.items()},
        {m: np.asarray(table.masks[m], bool)[clip] for m in table.modalities},
        codes, f1, quantile, tuple(table.modalities), representation,
    )  # fmt: skip


def _kept(results: ProbeResults, task: str, representation: str, where: Where) -> list[ProbeScore]:
    found = results.select(task=task, representation=representation, seed=0)
    if not found:
        there = ", ".join(dict.fromkeys(f"{s.task} of {s.representation}" for s in results.scores)) or "none"
        raise EvaluationError(f"found no scores of {task} of {representation}; there are {there}")
    return [s for s in found if s.prediction is not None and (s.train == s.test) == (where == "within")]


def _names(table: Codes, task: str) -> tuple[str, ...]:
    if "event" not in table.label_info:
        raise EvaluationError("found no label 'event' in these data, need one to score classes")
    classes = tuple(map(str, table.label_info["event"].classes))
    return (*classes, BACKGROUND) if task in ("localisation", "cross-dataset") else classes


def _events(table: Codes) -> np.ndarray:
    """Events at steps that some modality has, as probes see them."""
    there = np.logical_or.reduce([np.asarray(mask, bool) for mask in table.masks.values()])
    return np.asarray(table.labels["event"], bool) & there[..., None]


def _cells(score: ProbeScore, table: Codes) -> tuple[np.ndarray, np.ndarray]:
    """Return (predicted, true) ``[n, steps, classes]``; one step, the clip, for classification."""
    events = _events(table)[score.rows]
    if score.prediction.ndim == 1:
        return score.prediction[:, None, None] == np.arange(events.shape[-1]), events.any(1, keepdims=True)
    present = np.asarray(table.masks[score.test], bool)[score.rows][..., None]
    return (score.prediction > 0.5) & present, with_background(events) & present


def _resampled(counts: np.ndarray, ratio) -> np.ndarray:
    """Return score, low and high in percent, ``[3, K]``, of (hits, predictions, truths) per clip ``[n, K, 3]``."""
    if not len(counts):
        return np.full((3, counts.shape[1]), np.nan)
    weights = np.concatenate([np.ones((1, len(counts)), np.float32), bootstrap_weights(len(counts), REPLICATES)])
    part, whole = ratio(*np.moveaxis(np.tensordot(weights, counts, axes=1), -1, 0))
    values = 100.0 * np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    none = np.isnan(values[0])
    values[:, none] = 0
    low, high = np.nanquantile(values[1:], [0.025, 0.975], axis=0)
    return np.where(none, np.nan, np.stack([values[0], low, high]))
