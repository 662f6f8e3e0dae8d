"""What lies behind a score: classes, their confusion, and single clips. Arrays in, labelled results out.

All of it is read off the predictions that ``probes.fit_probes`` keeps: those of the first probe seed.
Directions are taken together, ``across`` modalities or ``within`` one; intervals are of a bootstrap over clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from srcid.evaluation.metrics import EvaluationError, with_background
from srcid.evaluation.representation import Codes, labelled_part, true_events
from srcid.evaluation.results import ProbeResults, ProbeScore
from srcid.statistics import Interval, share_interval

Where = Literal["across", "within"]
BACKGROUND = "background"
CLIP_TASKS = ("classification", "unpaired")  # one answer a clip; others have one a step
REPLICATES = 500
_NONE = Interval(math.nan)


@dataclass(frozen=True)
class ClassScores:
    """F1 of each class, percent, with the 95 % interval over clips.

    Attributes:
        classes: names; localisation has ``background`` last.
        across, within: by class, F1 of probes on other modalities than their own, and on their own; NaN where a class
            neither occurs nor is predicted.
        support: scored clips (classification) or steps (localisation) of each class, in one modality.
        task, representation, clips, split: what was scored.
    """

    classes: tuple[str, ...]
    across: tuple[Interval, ...]
    within: tuple[Interval, ...]
    support: tuple[int, ...]
    task: str
    representation: str
    clips: int
    split: str = "test"

    @property
    def unit(self) -> str:
        """What :attr:`support` counts."""
        return "clips" if self.task in CLIP_TASKS else "steps"

    def frame(self) -> pd.DataFrame:
        """Return a row a class, the highest F1 across modalities first (within one, if it was not asked across)."""
        rows = {
            name: dict(support=support) | a.columns("across") | w.columns("within")
            for name, support, a, w in zip(self.classes, self.support, self.across, self.within, strict=True)
        }
        frame = pd.DataFrame.from_dict(rows, orient="index")
        order = frame["across"].fillna(frame["within"]).sort_values(ascending=False, kind="stable", na_position="last")
        return frame.loc[order.index].rename_axis("class")

    @property
    def finding(self) -> str:
        """The classes of the highest and of the lowest F1."""
        known = [(a if np.isfinite(a.value) else w, name)
                 for name, a, w in zip(self.classes, self.across, self.within, strict=True)]  # fmt: skip
        known = sorted((pair for pair in known if np.isfinite(pair[0].value)), key=lambda pair: -pair[0].value)
        head = f"{self.task.capitalize()}, class by class"
        if not known:
            return f"{head}: no class was scored"
        (high, best), (low, worst) = known[0], known[-1]
        return f"{head}: F1 from {high.text('.0f')} % ({best}) to {low.text('.0f')} % ({worst}) on {self.split} clips"


@dataclass(frozen=True)
class ClassConfusion:
    """How often each class is taken for each other.

    Attributes:
        classes: names ``[C]``.
        counts: true class (rows) by predicted class (columns), summed over directions, ``[C, C]``.
        unit: what was counted: clips, or steps at which exactly one class is true.
        task, representation, where: what was scored.
        directions: how many directions were summed.
        right: share of what was counted that is right, percent, with the interval over clips.
        split: whose clips were scored.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    unit: str
    task: str
    representation: str
    where: Where
    directions: int
    right: Interval = _NONE
    split: str = "test"

    @property
    def shares(self) -> np.ndarray:
        """Shares of the true class, 0 to 1, ``[C, C]``; NaN for classes that do not occur."""
        total = self.counts.sum(1, keepdims=True)
        return np.divide(self.counts, total, out=np.full(self.counts.shape, np.nan), where=total > 0)

    def frame(self) -> pd.DataFrame:
        """Return the counts with the names of the classes."""
        names = list(self.classes)
        return pd.DataFrame(self.counts, pd.Index(names, name="true"), pd.Index(names, name="predicted"))

    def top(self, k: int = 5) -> list[tuple[str, str, float]]:
        """Return the ``k`` most frequent confusions: (true, predicted, share of the true class's)."""
        share = np.nan_to_num(self.shares)
        np.fill_diagonal(share, 0)
        order = np.argsort(-share, axis=None, kind="stable")[:k]
        pairs = [np.unravel_index(flat, share.shape) for flat in order]
        return [(self.classes[a], self.classes[b], float(share[a, b])) for a, b in pairs if share[a, b] > 0]

    @property
    def finding(self) -> str:
        """The share that is right, and the most frequent confusion."""
        if not self.counts.any():
            return f"No {self.unit} were scored: there is no confusion"
        right = f"{self.right.text('.0f')} % of {self.split} {self.unit} right"
        text = f"{self.task.capitalize()} {self.where} modalities: {right}"
        for true, predicted, part in self.top(1):
            text += f"; most often, {true} is taken for {predicted} ({part:.0%})"
        return text


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
        counts = np.zeros((len(rows), len(names), 2))
        for s in scores:
            said, truth = predicted_cells(s, table)
            hits, guesses, truths = ((said & truth).sum(1), said.sum(1), truth.sum(1))
            counts[np.searchsorted(rows, s.rows)] += np.stack([2 * hits, guesses + truths], axis=-1)
            if where == "within" or not support.any():
                support, clips = truths.sum(0), len(s.rows)
        both.append(tuple(_percent(*side.T) for side in np.moveaxis(counts, 1, 0)))
    split = results.scored_split(task)
    return ClassScores(names, *both, tuple(support.tolist()), task, representation, clips, split)


def class_confusion(
    results: ProbeResults,
    table: Codes,
    task: str = "classification",
    representation: str = "all",
    where: Where = "across",
) -> ClassConfusion:
    """Count true against predicted classes. Localisation counts steps of one class, by their likeliest class.

    Raises:
        EvaluationError: no such scores.
    """
    from sklearn.metrics import confusion_matrix

    names = _names(table, task)
    scores = _kept(results, task, representation, where)
    if not scores:
        raise EvaluationError(f"found no scores of {task}, {representation}, {where} modalities; need one direction")
    rows = np.unique(np.concatenate([s.rows for s in scores]))
    counts, right = np.zeros((len(names), len(names)), int), np.zeros((len(rows), 2))
    for s in scores:
        _, truth = predicted_cells(s, table)
        likeliest = s.prediction[:, None] if s.prediction.ndim == 1 else s.prediction.argmax(-1)
        one, true = truth.sum(-1) == 1, truth.argmax(-1)
        counts += confusion_matrix(true[one], likeliest[one], labels=range(len(names)))
        right[np.searchsorted(rows, s.rows)] += np.stack([(one & (true == likeliest)).sum(1), one.sum(1)], -1)
    unit = "clips" if task in CLIP_TASKS else "steps of exactly one class"
    about = task, representation, where, len(scores), _percent(*right.T), results.scored_split(task)
    return ClassConfusion(names, counts, unit, *about)


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


def predicted_cells(score: ProbeScore, table: Codes) -> tuple[np.ndarray, np.ndarray]:
    """Return (predicted, true) ``[n, steps, classes]``; one step, the clip, for classification."""
    events = true_events(table)[score.rows]
    if score.prediction.ndim == 1:
        return score.prediction[:, None, None] == np.arange(events.shape[-1]), events.any(1, keepdims=True)
    present = np.asarray(labelled_part(table).masks[score.test], bool)[score.rows][..., None]
    return (score.prediction > 0.5) & present, with_background(events) & present


def _percent(part: np.ndarray, whole: np.ndarray) -> Interval:
    """Percentage of sums over clips ``[n]``, with its interval; unknown of nothing."""
    return share_interval(part, whole, REPLICATES).times(100) if whole.any() else _NONE


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
        f1: micro F1 of the clip's events, mean over directions across modalities, percent; 100 where nothing is true
            and nothing is said.
        quantile: share of the other scored clips whose F1 is lower, 0 to 1; equal ones are not lower.
        modalities: of the table, in its order.
        representation: what the probes read.
        split: whose clips were scored.
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
    split: str = "test"

    @property
    def found(self) -> float:
        """Percentage of true events and steps that probes of other modalities name, mean over directions."""
        said = [steps for pair, steps in self.said.items() if pair[0] != pair[1]] or list(self.said.values())
        true = self.truth.sum()
        return 100 * float(np.mean([(steps & self.truth).sum() / true for steps in said])) if true and said else np.nan

    @property
    def finding(self) -> str:
        """The clip, and how well its events are found."""
        name = f" ({self.name})" if self.name else ""
        place = f"F1 across modalities {self.f1:.0f} %, better than {self.quantile:.0%} of {self.split} clips"
        return f"clip {self.clip}{name}: {place}"


def timelines(
    results: ProbeResults, table: Codes, clips: Sequence[int] = (), representation: str = "all"
) -> tuple[Timeline, ...]:
    """Return the timelines of ``clips`` (rows of the table), or of a good, a middling and a bad one.

    Good, middling and bad are the 90 %, 50 % and 10 % quantiles of the clips' F1 across modalities.

    Raises:
        EvaluationError: no such scores, or clips that were not scored.
    """
    scores = [s for s in results.select(task="localisation", representation=representation, seed=0)
              if s.prediction is not None]  # fmt: skip
    across = [s for s in scores if s.train != s.test] or scores
    if not scores:
        raise EvaluationError(f"found no scores of localisation, {representation}")
    rows = np.unique(np.concatenate([s.rows for s in across]))
    total, asked = np.zeros(len(rows)), np.zeros(len(rows), int)
    for s in across:
        said, truth = (cells[..., :-1] for cells in predicted_cells(s, table))
        hits, named = (said & truth).sum((1, 2)), said.sum((1, 2)) + truth.sum((1, 2))
        place = np.searchsorted(rows, s.rows)
        total[place] += np.where(named > 0, 2 * hits / np.maximum(named, 1), 1.0)
        asked[place] += 1
    f1 = 100 * total / asked
    order = np.argsort(f1, kind="stable")
    quantile = np.searchsorted(f1[order], f1) / max(len(rows) - 1, 1)
    unknown = sorted(set(map(int, clips)) - set(rows.tolist()))
    if unknown:
        raise EvaluationError(f"found clips {unknown}, which were not scored; need rows such as {rows[:3].tolist()}")
    split = results.scored_split("localisation")
    chosen = list(clips) or [int(rows[order[round(q * (len(rows) - 1))]]) for q in (0.9, 0.5, 0.1)]
    return tuple(
        _timeline(clip, scores, table, float(f1[i]), float(quantile[i]), representation, split)
        for clip in chosen
        for i in [int(np.searchsorted(rows, clip))]
    )


def _timeline(clip: int, scores: Sequence[ProbeScore], table: Codes, f1: float, quantile: float, representation: str,
              split: str) -> Timeline:  # fmt: skip
    truth = true_events(table)[clip]
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
        {m: np.asarray(labelled_part(table).masks[m], bool)[clip] for m in table.modalities},
        codes, f1, quantile, tuple(table.modalities), representation, split,
    )  # fmt: skip
