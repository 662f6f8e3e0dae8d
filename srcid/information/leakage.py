"""Probes that try to read a factor from features that should, or should not, hold it: one, and all of a run's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from srcid.cache import Cache
from srcid.codes import CodeTable, CodeTableError
from srcid.information.counts import SHARES, classify
from srcid.information.estimates import (
    InformationError,
    Settings,
    as_categories,
    estimates_cache,
    raise_problems,
    read_pair,
    reason,
    repeat,
    split_clips,
)
from srcid.information.questions import Sample, Variable, mask_of, places, values_of
from srcid.statistics import Interval, bootstrap_weights
from srcid.symbols import known_of


@dataclass(frozen=True)
class Leakage:
    """How well a linear probe reads a factor from features of clips it has not seen.

    Attributes:
        metric: "balanced accuracy", all classes weighing the same, so that background does not decide it; or "r2",
            the explained variance of a continuous factor.
        score: with its interval over clips and splits.
        chance: what knows no features: 1 / classes, or 0.
        null: scores on permuted clips.
        nats: lower bound on the information in the factor that the probe's likelihood gives; NaN for "r2".
    """

    factor: str
    metric: str
    score: Interval
    chance: float
    null: tuple[float, ...]
    nats: float
    settings: Settings

    @property
    def leaks(self) -> bool:
        """Whether the interval lies above chance and above every permuted-clip score."""
        return self.score.low > max([self.chance, *self.null])

    def __str__(self) -> str:
        return f"{self.factor}: {self.metric} {self.score.text('.2f')}, chance {self.chance:.2f}"


def leakage(
    features: Any, labels: Any, mask: Any = None, settings: Settings | None = None, *, factor: str = "factor"
) -> Leakage:
    """Probe features for a factor: logistic regression for categories, ridge regression for continuous factors.

    Args:
        features: [n,T,d] or [n,d], floating. Where the factor has one value a clip, features are averaged
            over the clip's valid steps first.
        labels: categories [n] or [n,T] (integers, negative where unknown), multi-label [n,C] or [n,T,C]
            (booleans: each combination is a category), or continuous truth [n,k] or [n,T,k].
        mask: bool [n,T] of valid steps.
        settings: the stopping clips choose the regularisation.
        factor: its name in the result.

    Raises:
        InformationError: see :func:`srcid.information.estimates.read_pair`; features that are not floating.
    """
    settings = settings or Settings()
    features, labels = np.asarray(features), np.asarray(labels)
    if features.dtype.kind != "f":
        raise_problems([f"features: found dtype {features.dtype}, need floating ones (the codes' quantised vectors)"])
    labels = as_categories(labels) if labels.dtype == bool else labels
    if features.ndim == 3 and labels.ndim == (2 if labels.dtype.kind == "f" else 1):
        weight = (np.ones(features.shape[:2]) if mask is None else np.asarray(mask, dtype=float))[..., None]
        features = np.where(weight > 0, features, 0).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
        mask = weight.any(axis=(1, 2))[:, None]
    x, y, mask = read_pair(features, labels, mask)
    score = _score_categories if y.discrete else _score_continuous

    metric = "balanced accuracy" if y.discrete else "r2"

    def run(x, y, mask: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
        parts = split_clips(len(mask), seed)
        clips = len(parts["score"])
        counts = np.vstack([np.ones(clips), bootstrap_weights(clips, settings.bootstrap, seed)])
        scores, chance, nats = score(x, y, mask, parts, counts)
        return {metric: {"value": scores[0], "replicates": scores[1:], "detail": {"chance": chance, "nats": nats}}}

    found = repeat({metric: "estimate"}, run, x, y, mask, settings)[metric]
    return Leakage(factor, metric, found.interval, found.detail["chance"], found.null, found.detail["nats"], settings)


def _score_categories(x, y, mask, parts, counts) -> tuple[np.ndarray, float, float]:
    """Scores by clip weights [R], chance, and nats."""
    width = int(y.values.max()) + 1
    log_q = classify(x.values, y.values, mask, parts, width, shares=SHARES[:1])  # frequencies hide rare classes
    truth, valid = y.values[parts["score"]], mask[parts["score"]]
    hot = np.eye(width)[truth] * valid[..., None]
    right = (hot * (log_q.argmax(axis=-1) == truth)[..., None]).sum(axis=1)  # [clips, classes]
    seen = hot.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.nanmean(np.where(counts @ seen > 0, (counts @ right) / (counts @ seen), np.nan), axis=1)
    share = seen.sum(axis=0) / seen.sum()
    share = share[share > 0]
    return scores, 1 / len(share), float((hot * log_q).sum() / seen.sum() - (share * np.log(share)).sum())


def _score_continuous(x, y, mask, parts, counts) -> tuple[np.ndarray, float, float]:
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([parts["fit"], parts["stop"]])
    fold = np.where(np.isin(rows, parts["stop"]), 0, -1)[:, None] * np.ones(mask.shape[1], dtype=int)
    ridge = RidgeCV(alphas=np.logspace(-2, 5, 8), cv=PredefinedSplit(fold[mask[rows]]))
    units = StandardScaler().fit(y.values[rows][mask[rows]])  # all columns of the factor weigh the same
    model = make_pipeline(StandardScaler(), ridge).fit(x.values[rows][mask[rows]],
                                                       units.transform(y.values[rows][mask[rows]]))  # fmt: skip
    last = mask[parts["score"]]
    truth = units.transform(y.values[parts["score"]][last])
    guess = model.predict(x.values[parts["score"]][last]).reshape(truth.shape)
    error, total = np.zeros((2, len(last)))
    np.add.at(error, np.nonzero(last)[0], ((guess - truth) ** 2).sum(axis=1))
    np.add.at(total, np.nonzero(last)[0], (truth**2).sum(axis=1))  # against the fitting clips' mean
    return 1 - (counts @ error) / (counts @ total), 0.0, float("nan")


@dataclass(frozen=True)
class Leak:
    """What a probe reads of a factor from one half of a modality in one layer.

    ``side`` is "general" or "specific". ``belongs`` says whether the factor is meant to be there: a factor that
    all modalities show in the general half, a modality's private one in its specific half. Where it does not
    belong, a score above chance is a leak.
    """

    layer: int
    modality: str
    side: str
    belongs: bool
    probe: Leakage

    @property
    def private(self) -> bool:
        """Whether the factor is the modality's own, rather than shared."""
        return self.belongs == (self.side == "specific")


@dataclass(frozen=True)
class Leaks:
    """What probes read of all factors, and sentences about what could not be probed."""

    probes: tuple[Leak, ...]
    notes: tuple[str, ...]
    sample: Sample

    def misplaced(self, private: bool) -> list[Leak]:
        """Probes where a factor does not belong: shared ones in s, or private ones in z."""
        return [leak for leak in self.probes if not leak.belongs and leak.private == private]

    @property
    def finding(self) -> str:
        """In how many places factors are read where they do not belong, in one sentence."""
        shared, own = self.misplaced(False), self.misplaced(True)
        return (
            f"On {self.sample.split} clips shared factors are read from s in {sum(v.probe.leaks for v in shared)} of "
            f"{len(shared)} places, private ones from z in {sum(v.probe.leaks for v in own)} of {len(own)}."
        )

    def frame(self) -> pd.DataFrame:
        """A row a probe."""
        return pd.DataFrame(
            {"layer": v.layer, "modality": v.modality, "side": v.side, "factor": v.probe.factor, "belongs": v.belongs,
             "metric": v.probe.metric, "score": v.probe.score.value, "low": v.probe.score.low,
             "high": v.probe.score.high, "chance": v.probe.chance, "above": v.probe.leaks, "nats": v.probe.nats}
            for v in self.probes
        )  # fmt: skip


def leaks(
    table: CodeTable, chosen: Sample, settings: Settings | None = None, keep: Cache | None = None,
    *, misplaced: bool = False,
) -> Leaks:  # fmt: skip
    """Probe both halves of every modality and layer for the shared factors and for its private one.

    A factor is shared if all modalities show it (``visible_in``), private to a modality that alone shows it; others
    are left out. What is read of noisy specific features is the noisy ones: those that decoder and next layer get.

    Args:
        misplaced: only look where a factor does not belong.
    """
    settings, keep = settings or Settings(), keep or estimates_cache()
    found, notes = [], []
    for name, info in table.label_info.items():
        labels = table.labels[name][chosen.rows]
        labels = labels[:, chosen.steps] if info.level == "step" else labels
        known = known_of(table, name, chosen.rows)
        known = known[:, chosen.steps] if info.level == "step" else known
        for k, m in places(table):
            private = info.visible_in == (m,)
            if not private and set(info.visible_in) < set(table.modalities):
                continue
            for side in ("general", "specific"):
                belongs = private == (side == "specific")
                if misplaced and belongs:
                    continue
                try:
                    features, mask = values_of(table, Variable(side, k, m), chosen), mask_of(table, [m], chosen) & known
                    probe = keep(leakage, features, labels, mask, settings=settings, factor=name)
                    found.append(Leak(k, m, side, belongs, probe))
                except (CodeTableError, InformationError) as error:
                    notes.append(f"{name}, {side} features of {m}, layer {k}: {reason(error)}")
    return Leaks(tuple(found), tuple(notes), chosen)
