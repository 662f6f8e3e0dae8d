"""Mutual information of codes and categories: corrected counts, and bounds from predicting one side."""

from __future__ import annotations

from typing import Any

import numpy as np

from srcid.information.clips import Scaler, Side, complain, split_clips
from srcid.information.estimates import Estimate, Settings, collect, permute_clips, repeat, resample


def entropy(counts: np.ndarray, correction: str = "grassberger") -> float:
    """Entropy in nats of the distribution behind counts, with the named bias correction.

    "miller-madow" adds (cells in use - 1) / 2n (Miller 1955); "grassberger" replaces log n_i by
    psi(n_i) + (-1)^n_i / 2 [psi((n_i + 1) / 2) - psi(n_i / 2)] (Grassberger 2003), better when cells are
    rare.
    """
    from scipy.special import digamma

    counts = np.asarray(counts, dtype=float).ravel()
    counts = counts[counts > 0]
    n = counts.sum()
    if correction == "grassberger":
        wiggle = digamma((counts + 1) / 2) - digamma(counts / 2)
        logs = digamma(counts) + np.where(np.round(counts) % 2 == 0, 0.5, -0.5) * wiggle
        return float(np.log(n) - (counts * logs).sum() / n)
    plain = float(np.log(n) - (counts * np.log(counts)).sum() / n)
    return plain + (len(counts) - 1) / (2 * n) if correction == "miller-madow" else plain


def plugin(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> Estimate:
    """I(x;y) of two discrete sides from their joint counts, H(x) + H(y) - H(x,y), each entropy corrected.

    Counts are pooled over steps, so what both sides know of the step's position counts too. The correction
    assumes independent steps; the null shows what bias is left. The bootstrap distribution is centred on the
    estimate, because resampling clips repeats the bias.
    """

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, Any]:
        a = np.unique(x.values, return_inverse=True)[1].reshape(mask.shape)
        b = np.unique(y.values, return_inverse=True)[1].reshape(mask.shape)
        wide = int(b.max()) + 1
        cell, clip = (a * wide + b)[mask], np.nonzero(mask)[0]
        left, right, joint = (np.unique(v, return_inverse=True)[1] for v in (a[mask], b[mask], cell))

        def information(weights):
            h = [entropy(np.bincount(v, weights), settings.correction) for v in (left, right, joint)]
            return h[0] + h[1] - h[2], min(h[0], h[1])

        value, cap = information(np.ones(len(clip)))
        draws = np.array([information(w[clip])[0] for w in resample(len(mask), settings, seed)])
        used = len(np.unique(joint))
        flags = []
        if used > len(clip) / 5:
            flags.append(
                f"{used} pairs of codes in {len(clip)} steps: too few counts for a sound correction; read it "
                "against the null"
            )
        return {
            "value": value,
            "replicates": draws - draws.mean() + value,
            "cap": cap,
            "flags": flags,
            "detail": {"cells": used, "samples": len(clip)},
        }

    return repeat("plug-in", "estimate", run, x, y, mask, settings, seeds=1)


def categorical_bounds(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> dict[str, Estimate]:
    """Lower and upper bound on I(x;y) for categories y, from one predictor q(y|x) judged on clips it has not
    seen.

    Lower: H(y) - cross entropy of q (Barber and Agakov 2003). Upper: CLUB with categorical q, the mean of log
    q over pairs that belong together less that over all pairs of the step; it bounds from above as far as q
    is right. q is a smoothed table of counts for discrete x, multinomial logistic regression for features.
    """
    width = int(y.values.max()) + 1

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
        parts = split_clips(len(mask), settings.split, np.random.default_rng([seed, 11]))
        log_q = _predictor(x, y, mask, parts, width, settings)
        truth, valid = y.values[parts["score"]], mask[parts["score"]]
        hot = np.eye(width)[truth] * valid[..., None]
        log_q = log_q * valid[..., None]

        def bounds(counts):  # [R, clips] -> lower and upper [R]
            n = counts @ valid.astype(float)  # [R, T]
            share = np.maximum(n, 1e-12)
            p = np.einsum("rc,ctk->rtk", counts, hot, optimize=True) / share[..., None]
            mean_log = np.einsum("rc,ctk->rtk", counts, log_q, optimize=True) / share[..., None]
            joint = counts @ (hot * log_q).sum(axis=-1) / share
            h = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)
            total = n.sum(axis=1)
            return [
                ((h + joint) * n).sum(axis=1) / total,
                ((joint - (p * mean_log).sum(axis=-1)) * n).sum(axis=1) / total,
            ]

        values = bounds(np.ones((1, len(valid))))
        draws = bounds(resample(len(valid), settings, seed))
        draws[0] += values[0] - draws[0].mean()  # H(y) of a resample is biased once more than H(y)
        return {
            "lower": {"value": float(values[0][0]), "replicates": draws[0]},
            "upper": {"value": float(values[1][0]), "replicates": draws[1]},
        }

    runs = [run(x, y, mask, settings.seed + i) for i in range(settings.seeds)]
    null = [run(x, *permute_clips(y, mask, settings.seed, i), settings.seed + i) for i in range(settings.nulls)]
    names = {"lower": "barber-agakov", "upper": "club-categorical"}
    return {
        kind: collect(name, kind, [r[kind] for r in runs], [r[kind]["value"] for r in null], x, y, mask, settings)
        for kind, name in names.items()
    }


def _predictor(x: Side, y: Side, mask, parts, width: int, settings: Settings) -> np.ndarray:
    """Fit q(y|x) and return its log-probabilities [clips, T, width] on the clips that are scored."""
    if not x.discrete:
        return classify(x.values, y.values, mask, parts, width, settings)[0]
    a, b = x.values, y.values
    table = np.zeros((int(a.max()) + 1, width))
    rows = mask[parts["fit"]]
    np.add.at(table, (a[parts["fit"]][rows], b[parts["fit"]][rows]), 1.0)
    prior = (table.sum(axis=0) + 0.5) / (table.sum() + 0.5 * width)
    rows = mask[parts["stop"]]
    stop = a[parts["stop"]][rows], b[parts["stop"]][rows]
    tables = [np.log((table + s * prior) / (table.sum(axis=1, keepdims=True) + s)) for s in (0.3, 1, 3, 10, 30, 100)]
    best = max(tables, key=lambda log_q: log_q[stop].mean())
    return best[a[parts["score"]]]


def classify(values, labels, mask, parts, width: int, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression of labels [n,T] on features [n,T,d], its strength chosen on the
    stopping clips.

    Returns log-probabilities and predicted labels of the scored clips, [clips, T, width] and [clips, T].
    Classes absent from the fitting clips get the probability of one unseen observation.
    """
    import copy
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scaler = Scaler.learn(values[parts["fit"]], mask[parts["fit"]], settings.components)
    rows = {
        name: (scaler.apply(values[clips])[mask[clips]], labels[clips][mask[clips]]) for name, clips in parts.items()
    }
    known, floor = np.unique(rows["fit"][1]), 1 / (len(rows["fit"][1]) + width)
    if len(known) < 2:
        complain([f"the fitting clips hold only class {known[0]}; need more clips, or a factor that varies"])

    def log_probability(model, features):
        full = np.full((len(features), width), floor)
        full[:, known] = np.maximum(model.predict_proba(features), floor)
        return np.log(full / full.sum(axis=1, keepdims=True))

    best, most = None, -np.inf
    model = LogisticRegression(max_iter=200, warm_start=True)  # from one strength to the next is a short way
    for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        model.set_params(C=strength)
        with warnings.catch_warnings():
            # a fit cut short is one more candidate for the stopping clips to judge
            warnings.simplefilter("ignore", ConvergenceWarning)
            # codes are many, and clips may be few: classes all the same
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            model.fit(*rows["fit"])
        x, y = rows["stop"]
        found = log_probability(model, x)[np.arange(len(y)), y].mean()
        if found > most:
            best, most = copy.deepcopy(model), found
    features = scaler.apply(values[parts["score"]])
    log_q = log_probability(best, features.reshape(-1, features.shape[-1])).reshape(*features.shape[:2], width)
    return log_q, log_q.argmax(axis=-1)
