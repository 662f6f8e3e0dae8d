"""Open-set classification: probes know some classes only, and are to say so when they meet another.

A probe learns half of the classes. Of the others, one half stands for the unknown on validation clips, where the
threshold on the largest softmax probability is chosen, and the other half on test clips: what is unknown at test was
unknown at validation too. (Public code chooses the threshold on the test clips.) Scores, percent:

- ``known``: K, clips of known classes that are not rejected and get their class;
- ``unknown``: U, clips of unknown classes that are rejected;
- ``h``: their harmonic mean 2 K U / (K + U);
- ``auroc``: the chance that a clip of a known class has a higher largest probability than one of an unknown class. It
  needs no threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax

from srcid.evaluation.results import REPLICATES, ProbeResults, by_direction, resampled
from srcid.evaluation.tasks import Classification, Rows
from srcid.statistics import bootstrap_weights, percentile_interval

LEAST_CLASSES = 4  # two to tell apart, one unknown for validation clips, one for test clips


class OpenSet(Classification):
    """The task; ``decide`` gives (class, its probability) ``[..., 2]``, and class -1 where it rejects."""

    name, metric = "open-set", "h"
    has_threshold = True

    def __init__(self, events: np.ndarray) -> None:
        super().__init__(events)
        order = np.random.default_rng(0).permutation(self.classes)  # the same classes for every run and probe
        half, rest = -(-self.classes // 2), self.classes // 2
        self.groups = tuple(np.sort(part) for part in np.split(order, [half, half + rest // 2]))  # known, val, test
        place = np.full(self.classes, -1)
        place[self.groups[0]] = np.arange(half)
        self.clip_class, self.truth, self.outputs = self.truth, place[self.truth], half

    def used(self, part: int) -> np.ndarray:
        """Clips of one class, which is known or (part 1, 2) one of those that stand for the unknown."""
        return self.usable & np.isin(self.clip_class, [*self.groups[0], *(self.groups[part] if part else ())])

    def problem(self, rows: list[Rows], splits: Sequence[str]) -> str:
        if self.classes < LEAST_CLASSES:
            return f"{self.name} was left out: found {self.classes} classes, need {LEAST_CLASSES} or more."
        if said := super().problem(rows, splits):
            return said
        for part, split in ((1, splits[1]), (2, splits[2])):
            for m, clips in rows[part].items():
                if len(set((self.truth[clips] >= 0).tolist())) < 2:
                    return f"{self.name} was left out: split '{split}' needs known and unknown classes in {m}."
        return ""

    def remarks(
        self, clips: Mapping[str, np.ndarray], splits: Sequence[str], rows: Sequence[Rows], names: Sequence[str]
    ) -> list[str]:
        known, val, test = (", ".join(names[c] for c in group) for group in self.groups)
        chosen, scored = ({"val": "validation"}.get(split, split) for split in splits[1:])
        unknown = (
            f"{val} where the threshold is chosen ({chosen} clips) and {test} where they are scored ({scored} clips)"
        )
        return [f"{self.name}: probes learn {known}; unknown are {unknown}."]

    def decide(self, logits: np.ndarray, threshold: np.ndarray | float = -1.0) -> np.ndarray:
        """Return class and probability; -1 where the probability does not exceed the threshold (``[p, 1]``)."""
        probability = softmax(logits, axis=-1)
        best = probability.max(-1)
        return np.stack([np.where(best > threshold, probability.argmax(-1), -1), best], axis=-1)

    def threshold(self, decided: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the threshold of the highest H of each probe, ``[p, n, 2]`` to ``[p, 1]``."""
        return self._best(decided, rows)[1][:, None]

    def choose(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray, published: bool) -> np.ndarray:
        """The highest H over thresholds."""
        return self._best(decided, rows)[0]

    def _best(self, decided: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        truth, known = self.truth[rows], self.truth[rows] >= 0
        order = np.argsort(decided[..., 1], axis=-1, kind="stable")
        right = np.take_along_axis((decided[..., 0] == truth) & known, order, -1)
        limit = np.take_along_axis(decided[..., 1], order, -1)  # reject this clip and those before it
        k = (right.sum(-1, keepdims=True) - right.cumsum(-1)) / known.sum()
        u = (~known)[order].cumsum(-1) / (~known).sum()
        h = 2 * k * u / np.maximum(k + u, 1e-12)
        h[..., :-1][limit[..., :-1] == limit[..., 1:]] = -1  # clips of one probability are rejected together
        best = h.argmax(-1)
        return tuple(np.take_along_axis(values, best[..., None], -1)[..., 0] for values in (h, limit))

    def counts(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(right, 1, 0, 0) for clips of known classes and (0, 0, rejected, 1) for the others."""
        known = np.broadcast_to(self.truth[rows] >= 0, decided.shape[:-1])
        right, rejected = (decided[..., 0] == self.truth[rows]) & known, (decided[..., 0] < 0) & ~known
        return np.stack([right, known, rejected, ~known], axis=-1).astype(np.int32)

    def values(self, decided: np.ndarray, rows: np.ndarray, present: np.ndarray) -> dict[str, float]:
        k_part, k_all, u_part, u_all = self.counts(decided, rows, present).sum(0)
        k, u = k_part / k_all, u_part / u_all
        area = float(_areas(decided[:, 1], self.truth[rows] >= 0)[0])
        return {"h": 100.0 * 2 * k * u / (k + u) if k + u else 0.0, "known": 100.0 * k, "unknown": 100.0 * u,
                "auroc": area}  # fmt: skip

    def keep(self, logits: np.ndarray, present: np.ndarray) -> np.ndarray:
        """The largest probability of each clip."""
        return softmax(logits, axis=-1).max(-1)

    def chance(self, fitted: Rows, scored: Rows, present: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Score always answering the most frequent class and rejecting the best share of clips by lot."""
        fitted, scored = (np.concatenate(list(rows.values())) for rows in (fitted, scored))
        usual, known = np.bincount(self.truth[fitted]).argmax(), self.truth[scored] >= 0
        rejected = np.linspace(0.001, 0.999, 999)
        k = (1 - rejected) * np.mean(self.truth[scored][known] == usual)
        h = np.max(2 * k * rejected / (k + rejected))
        return {"h": 100.0 * float(h), "known": 100.0 * float(k[0]), "unknown": 0.0, "auroc": 50.0}


@dataclass(frozen=True)
class OpenSetScores:
    """H and AUROC of each representation and direction, means over probe seeds with 95 % intervals over clips.

    Attributes:
        rows: representation, train, test, same, h, auroc (both :class:`Interval`, percent), known, unknown, chance.
        split: whose clips were scored.
    """

    rows: pd.DataFrame
    split: str = "test"

    def frame(self) -> pd.DataFrame:
        """Return the rows as text."""
        return self.rows.assign(h=self.rows["h"].map(str), auroc=self.rows["auroc"].map(str)).round(1)

    @property
    def finding(self) -> str:
        """The lowest and the highest direction across modalities of the first representation."""
        rows = self.rows[~self.rows["same"]]
        if not len(rows):
            return "Open-set classification was not scored across modalities"
        rows = rows[rows["representation"] == rows["representation"].iloc[0]]
        said = []
        for name, chance in (("h", rows["chance"].iloc[0]), ("auroc", 50.0)):
            low, high = (end(rows[name], key=lambda cell: cell.value) for end in (min, max))
            said.append(f"{name.upper()} {low.text('.0f')} to {high.text('.0f')} %, chance {chance:.0f}")
        return f"Unknown classes across modalities, {len(rows)} directions, {self.split} clips: {'; '.join(said)}"


def open_set_scores(results: ProbeResults) -> OpenSetScores:
    """Summarise the open-set probes of ``results``; empty without any."""
    groups = by_direction(results.select(task=OpenSet.name))
    drawn = resampled(list(groups.values()))
    rows = []
    for (_, representation, train, test), scores in groups.items():
        mean = {name: float(np.mean([s.values[name] for s in scores])) for name in ("h", "auroc", "known", "unknown")}
        h = percentile_interval(drawn[id(scores)], value=mean["h"], n=len(scores[0].rows))
        known = scores[0].counts[:, 1] > 0
        weights = bootstrap_weights(len(known), REPLICATES)
        areas = np.mean([_areas(s.prediction, known, weights) for s in scores], axis=0)
        auroc = percentile_interval(areas, value=mean["auroc"], n=len(known))
        rows.append((representation, train, test, train == test, h, auroc, mean["known"], mean["unknown"],
                     results.chance[OpenSet.name]["h"]))  # fmt: skip
    names = ["representation", "train", "test", "same", "h", "auroc", "known", "unknown", "chance"]
    return OpenSetScores(pd.DataFrame(rows, columns=names), results.scored_split(OpenSet.name))


def _areas(confidence: np.ndarray, known: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the area under the ROC curve, percent, of each row of ``weights`` ``[R, n]`` of clips; ties count half."""
    weights = np.ones((1, len(known)), np.float32) if weights is None else weights
    higher = np.sign(confidence[known][:, None] - confidence[~known][None, :]).astype(np.float32)
    inside, outside = weights[:, known], weights[:, ~known]
    pairs = inside.sum(1) * outside.sum(1)
    total = ((inside @ higher) * outside).sum(1)
    return 50.0 * (1 + np.divide(total, pairs, out=np.zeros_like(total), where=pairs > 0))
