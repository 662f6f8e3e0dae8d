"""Probes that try to read a factor from features that should, or should not, hold it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcid.information.clips import Scaler, as_categories, complain, read_pair, split_clips
from srcid.information.counts import classify
from srcid.information.estimates import Settings, permute_clips, resample


@dataclass(frozen=True)
class Leakage:
    """How well a linear probe reads a factor from features of clips it has not seen.

    ``score`` is accuracy (``metric="accuracy"``), with every class weighing the same ("balanced accuracy"),
    or the explained variance R^2 of a continuous factor ("r2"), with its ``interval`` over clips and splits.
    ``chance`` is what
    knows no features: the commonest class, 1 / classes, or 0. ``null`` has the scores on permuted clips.
    ``nats`` is the lower bound on the information in the factor that the probe's likelihood gives (NaN for
    continuous factors).
    """

    factor: str
    metric: str
    score: float
    interval: tuple[float, float]
    chance: float
    null: np.ndarray
    by_seed: np.ndarray
    nats: float
    classes: int
    clips: int
    settings: Settings

    @property
    def leaks(self) -> bool:
        """Whether the interval lies above chance and above every permuted-clip score."""
        return bool(self.interval[0] > max([self.chance, *self.null]))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.factor}: {self.metric} {self.score:.3f} [{low:.3f}, {high:.3f}], chance {self.chance:.3f}"


def leakage(
    features,
    labels,
    mask=None,
    settings: Settings | None = None,
    *,
    factor: str = "factor",
    balanced: bool = False,
) -> Leakage:
    """Probe features for a factor: logistic regression for categories, ridge regression for continuous
    factors.

    Args:
        features: [n,T,d] or [n,d], floating. Where the factor has one value a clip, features are averaged
            over the clip's valid steps first.
        labels: categories [n] or [n,T] (integers, negative where unknown), multi-label [n,C] or [n,T,C]
            (booleans: each combination is a category), or continuous truth [n,k] or [n,T,k].
        mask: bool [n,T] of valid steps.
        settings: splits, seeds, nulls, bootstrap and components; the stopping clips choose the
            regularisation.
        factor: its name in the result.
        balanced: give every class the same weight in the score, so that background does not decide it.

    Raises:
        InformationError: see :func:`srcid.information.clips.read_pair`; features that are not floating.
    """
    settings = settings or Settings()
    features, labels = np.asarray(features), np.asarray(labels)
    if features.dtype.kind != "f":
        complain([f"features: found dtype {features.dtype}, need floating features (the codes' quantised vectors)"])
    if labels.dtype == bool:
        labels = as_categories(labels)
    per_clip = labels.ndim == (2 if labels.dtype.kind == "f" else 1)
    if per_clip and features.ndim == 3:
        if mask is not None and np.shape(mask) == features.shape[:2]:
            weight = np.asarray(mask, dtype=float)[..., None]
            features = np.where(weight > 0, features, 0).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
            mask = np.asarray(mask).any(axis=1)[:, None]
        elif mask is None:
            features = features.mean(axis=1)
    x, y, mask = read_pair(features, labels, mask, settings.constant)
    score_split = _score_categories if y.discrete else _score_continuous
    metric = ("balanced accuracy" if balanced else "accuracy") if y.discrete else "r2"

    def run(y, mask, seed):
        parts = split_clips(len(mask), settings.split, np.random.default_rng([seed, 11]))
        return score_split(x, y, mask, parts, settings, seed, balanced)

    runs = [run(y, mask, settings.seed + i) for i in range(settings.seeds)]
    null = [run(*permute_clips(y, mask, settings.seed, i), settings.seed + i)["value"] for i in range(settings.nulls)]
    tail = (1 - settings.level) / 2
    low, high = np.quantile(np.concatenate([r["replicates"] for r in runs]), [tail, 1 - tail])
    values = np.array([r["value"] for r in runs])
    return Leakage(
        factor,
        metric,
        float(values.mean()),
        (float(low), float(high)),
        float(np.mean([r["chance"] for r in runs])),
        np.array(null, dtype=float),
        values,
        float(np.mean([r["nats"] for r in runs])),
        len(np.unique(y.values[mask])) if y.discrete else 0,
        len(mask),
        settings,
    )


def _score_categories(x, y, mask, parts, settings, seed, balanced):
    width = int(y.values.max()) + 1
    log_q, guess = classify(x.values, y.values, mask, parts, width, settings)
    truth, valid = y.values[parts["score"]], mask[parts["score"]]
    hot = np.eye(width)[truth] * valid[..., None]
    right = (hot * (guess == truth)[..., None]).sum(axis=1)  # [clips, classes]
    seen = hot.sum(axis=1)

    def score(counts):
        right_sum, seen_sum = counts @ right, counts @ seen
        if not balanced:
            return right_sum.sum(axis=1) / seen_sum.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nanmean(np.where(seen_sum > 0, right_sum / seen_sum, np.nan), axis=1)

    commonest = np.bincount(y.values[parts["fit"]][mask[parts["fit"]]], minlength=width).argmax()
    share = seen.sum(axis=0) / seen.sum()
    chance = 1 / (share > 0).sum() if balanced else share[commonest]
    surprise = -(hot * log_q).sum() / seen.sum()
    h = -(share[share > 0] * np.log(share[share > 0])).sum()
    return {
        "value": float(score(np.ones((1, len(seen))))[0]),
        "chance": float(chance),
        "nats": float(h - surprise),
        "replicates": score(resample(len(seen), settings, seed)),
    }


def _score_continuous(x, y, mask, parts, settings, seed, balanced):
    from sklearn.linear_model import Ridge

    fit, stop, last = parts["fit"], parts["stop"], parts["score"]
    to_x = Scaler.learn(x.values[fit], mask[fit], settings.components)
    to_y = Scaler.learn(y.values[fit], mask[fit])

    def rows(clips):
        return to_x.apply(x.values[clips])[mask[clips]], to_y.apply(y.values[clips])[mask[clips]]

    a, b = rows(stop)
    models = [Ridge(alpha=strength).fit(*rows(fit)) for strength in np.logspace(-2, 5, 8)]
    best = min(models, key=lambda model: ((model.predict(a).reshape(b.shape) - b) ** 2).mean())
    a, b = rows(last)
    clip = np.nonzero(mask[last])[0]
    error, total = np.zeros((2, len(last)))
    np.add.at(error, clip, ((best.predict(a).reshape(b.shape) - b) ** 2).sum(axis=1))
    np.add.at(total, clip, (b**2).sum(axis=1))  # against the fitting clips' mean
    counts = resample(len(last), settings, seed)
    return {
        "value": float(1 - error.sum() / total.sum()),
        "chance": 0.0,
        "nats": float("nan"),
        "replicates": 1 - (counts @ error) / (counts @ total),
    }
