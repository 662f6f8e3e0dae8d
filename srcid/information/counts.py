"""Mutual information of codes and categories: corrected counts, and bounds from predicting one side."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import digamma

from srcid.information.estimates import Estimate, Settings, Side, raise_problems, repeat, split_clips, transform
from srcid.statistics import bootstrap_weights

SHARES = (0.01, 0.1, 0.5, 0.9)  # of the classes' own frequencies in what a probe predicts


def corrected_entropy(counts: np.ndarray) -> float:
    """Entropy in nats of the distribution behind counts, with the correction for few counts of Grassberger (2003).

    It replaces log n_i by psi(n_i) + (-1)^n_i / 2 [psi((n_i + 1) / 2) - psi(n_i / 2)].
    """
    counts = np.asarray(counts, dtype=float).ravel()
    counts = counts[counts > 0]
    wiggle = digamma((counts + 1) / 2) - digamma(counts / 2)
    logs = digamma(counts) + np.where(np.round(counts) % 2 == 0, 0.5, -0.5) * wiggle
    return float(np.log(counts.sum()) - (counts * logs).sum() / counts.sum())


def plugin(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> Estimate:
    """I(x;y) of two discrete sides from their joint counts, H(x) + H(y) - H(x,y), each entropy corrected.

    Counts are pooled over steps, so what both sides know of the step's position counts too. The correction
    assumes independent steps; the null shows what bias is left. The bootstrap distribution is centred on the
    estimate, because resampling clips repeats the bias.
    """

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
        clip = np.nonzero(mask)[0]
        left, right = (np.unique(side.values[mask], return_inverse=True)[1] for side in (x, y))
        joint = np.unique(left * (right.max() + 1) + right, return_inverse=True)[1]

        def information(weights: np.ndarray) -> float:
            a, b, both = (corrected_entropy(np.bincount(v, weights)) for v in (left, right, joint))
            return min(a + b - both, a, b, np.log(left.max() + 1), np.log(right.max() + 1))

        value, cells = information(np.ones(len(clip))), int(joint.max()) + 1
        draws = np.array([information(w[clip]) for w in bootstrap_weights(len(mask), settings.bootstrap, seed)])
        few = f"{cells} pairs of codes in {len(clip)} steps: too few counts; read it against the null"
        return {"plug-in": {"value": value, "replicates": draws - draws.mean() + value,
                            "flags": [few] * (cells > len(clip) / 5)}}  # fmt: skip

    return repeat({"plug-in": "estimate"}, run, x, y, mask, settings, seeds=1)["plug-in"]


def category_bounds(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> dict[str, Estimate]:
    """Bounds on I(x;y) for categories y, from one predictor q(y|x) judged on clips it has not seen.

    "barber-agakov", lower: H(y), corrected and from all clips, - cross entropy of q on the scored ones (Barber and
    Agakov 2003). "club-categorical", upper: the mean
    of log q over pairs that belong together less that over all pairs of the step; it bounds from above as far as q
    is right. q is a smoothed table of counts for discrete x, multinomial logistic regression for features.
    """
    width = int(y.values.max()) + 1

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
        parts = split_clips(len(mask), seed)
        truth, valid = y.values[parts["score"]], mask[parts["score"]]
        log_q = (_table if x.discrete else classify)(x.values, y.values, mask, parts, width) * valid[..., None]
        hot = np.eye(width)[truth] * valid[..., None]

        def bounds(counts: np.ndarray) -> np.ndarray:  # [R, clips] -> lower and upper [2, R]
            n = counts @ valid.astype(float)  # [R, T]
            size = np.maximum(n, 1e-12)
            p = np.einsum("rc,ctk->rtk", counts, hot, optimize=True) / size[..., None]
            mean_log = np.einsum("rc,ctk->rtk", counts, log_q, optimize=True) / size[..., None]
            joint = counts @ (hot * log_q).sum(axis=-1) / size
            h = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)
            both = np.stack([h + joint, joint - (p * mean_log).sum(axis=-1)])
            return (both * n).sum(axis=-1) / n.sum(axis=-1)

        values = bounds(np.ones((1, len(valid))))[:, 0]
        # H(y) of few scored clips is far too low where categories are many
        h = [corrected_entropy(np.bincount(y.values[mask[:, t], t])) for t in range(mask.shape[1]) if mask[:, t].any()]
        size = valid.sum(axis=0)[mask.any(axis=0)]
        values[0] = (hot * log_q).sum() / size.sum() + (h * size).sum() / size.sum()
        draws = bounds(bootstrap_weights(len(valid), settings.bootstrap, seed).astype(float))
        draws[0] += values[0] - draws[0].mean()  # H(y) of a resample is biased once more
        return {name: {"value": float(values[i]), "replicates": draws[i]} for i, name in enumerate(kinds)}

    kinds = {"barber-agakov": "lower", "club-categorical": "upper"}
    return repeat(kinds, run, x, y, mask, settings)


def _table(a: np.ndarray, b: np.ndarray, mask: np.ndarray, parts: dict[str, np.ndarray], width: int) -> np.ndarray:
    """Log-probabilities [clips, T, width] of b for the scored clips, from smoothed counts."""
    rows, stop = (mask[parts[name]] for name in ("fit", "stop"))
    table = np.zeros((int(a.max()) + 1, width))
    np.add.at(table, (a[parts["fit"]][rows], b[parts["fit"]][rows]), 1.0)
    prior = (table.sum(axis=0) + 0.5) / (table.sum() + 0.5 * width)
    seen = a[parts["stop"]][stop], b[parts["stop"]][stop]
    tables = [np.log((table + s * prior) / (table.sum(axis=1, keepdims=True) + s)) for s in (0.3, 1, 3, 10, 30, 100)]
    return max(tables, key=lambda log_q: log_q[seen].mean())[a[parts["score"]]]


def classify(
    values: np.ndarray, labels: np.ndarray, mask, parts: dict[str, np.ndarray], width: int, shares=SHARES
) -> np.ndarray:
    """Log-probabilities [clips, T, width] of labels [n,T] for the scored clips, from features [n,T,d].

    Multinomial logistic regression, mixed with the shares of the classes; the stopping clips choose how strongly it
    is regularised and mixed, among ``shares``. Classes absent from the fitting clips count as half an observation.

    Raises:
        InformationError: the fitting clips hold one class only.
    """
    import copy
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = transform(StandardScaler().fit(values[parts["fit"]][mask[parts["fit"]]]), values)
    fit, stop = ((scaled[rows][mask[rows]], labels[rows][mask[rows]]) for rows in (parts["fit"], parts["stop"]))
    known = np.unique(fit[1])
    if len(known) < 2:
        raise_problems([f"the fitting clips hold only class {known[0]}; need more clips, or a factor that varies"])
    prior = (np.bincount(fit[1], minlength=width) + 0.5) / (len(fit[1]) + 0.5 * width)

    def log_probability(model, share: float, features: np.ndarray) -> np.ndarray:
        full = np.tile(share * prior, (len(features), 1))
        full[:, known] += (1 - share) * model.predict_proba(features)
        return np.log(full)

    found = []
    model = LogisticRegression(max_iter=100, warm_start=True)  # from one strength to the next is a short way
    for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        with warnings.catch_warnings():
            # a fit cut short is one more candidate for the stopping clips to judge
            warnings.simplefilter("ignore", ConvergenceWarning)
            # codes are many, and clips may be few: classes all the same
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            fitted = copy.deepcopy(model.set_params(C=strength).fit(*fit))
        for share in shares:
            gain = log_probability(fitted, share, stop[0])[np.arange(len(stop[1])), stop[1]].mean()
            found.append((gain, fitted, share))
        pure = [gain for gain, _, share in found if share == shares[0]]
        if pure[-1] < max(pure) - 0.1:
            break  # well past the best: weaker regularisation only overfits more, and takes longest
    _, best, share = max(found, key=lambda candidate: candidate[0])
    features = scaled[parts["score"]]
    return log_probability(best, share, features.reshape(-1, features.shape[-1])).reshape(*features.shape[:2], width)
