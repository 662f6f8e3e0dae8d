"""Mutual information from distances to nearest neighbours: no network, no bound, a third opinion."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import KDTree
from scipy.special import digamma
from scipy.stats import t as student

from srcid.information.estimates import Estimate, Settings, Side, raise_problems, repeat, transform

NEIGHBOURS, COMPONENTS = 4, 3  # k, and principal components of each side of features
STEPS, GROUPS = 8, 10  # most steps of a clip that are read; groups of clips, left out in turn
TIED = 0.05  # share of repeated rows beyond which they are flagged


def ksg_terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Terms whose mean is the KSG estimate of I(x;y) from independent rows x [n,dx], y [n,dy]; nats.

    Kraskov, Stögbauer and Grassberger (2004), Eq. 8: psi(k) + psi(n) - < psi(n_x + 1) + psi(n_y + 1) > with
    the maximum norm, n_x the rows strictly nearer in x than the k-th joint neighbour.
    """
    both = np.hstack([x, y])
    radius = KDTree(both).query(both, k=NEIGHBOURS + 1, p=np.inf)[0][:, -1]
    inside = [_count(z, radius) for z in (x, y)]
    return digamma(NEIGHBOURS) + digamma(len(x)) - digamma(inside[0]) - digamma(inside[1])


def category_terms(x: np.ndarray, category: np.ndarray) -> np.ndarray:
    """Terms whose mean is I(x; category) from independent rows x [n,d]; nats (Ross 2014, Eq. 6).

    NaN for a row whose category occurs once: it has no neighbour in it, and is left out altogether, also as a
    neighbour of others, as in scikit-learn's ``mutual_info_classif``.
    """
    code, size = np.unique(category, return_inverse=True, return_counts=True)[1:]
    known = size[code] > 1
    terms = np.full(len(x), np.nan)
    x, code = x[known], np.unique(code[known], return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    radius, nearest, members = np.zeros(len(x)), np.zeros(len(x)), np.bincount(code, minlength=1)
    for rows in np.split(order, np.cumsum(members)[:-1]) if len(x) else ():
        k = min(NEIGHBOURS, len(rows) - 1)
        radius[rows] = KDTree(x[rows]).query(x[rows], k=[k + 1], p=np.inf)[0][:, 0]
        nearest[rows] = k
    if len(x):
        counted = digamma(nearest) - digamma(members[code]) - digamma(_count(x, radius))
        terms[known] = digamma(len(x)) + counted
    return terms


def _count(z: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Rows of z strictly nearer than ``radius``, each row itself included."""
    from sklearn.neighbors import KDTree as CountingTree

    inside = np.maximum(np.nextafter(radius, 0), 0)
    return CountingTree(z, metric="chebyshev").query_radius(z, inside, count_only=True)


def nearest_neighbours(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> Estimate:
    """Nearest-neighbour estimate of features x against features ("ksg") or categories ("ross") y.

    Read are the three first principal components of each side, whitened, at up to 8 steps of each clip, averaged.
    A projection can only lose information: flags say how much of the variance is left. The interval is a jackknife
    over ten groups of clips. Equal rows break what KSG assumes: they are flagged.
    """
    name = "ross" if y.discrete else "ksg"

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
        rng = np.random.default_rng([seed, 5])
        sides, flags, kept = [], [], {}
        for label, side in (("x", x), ("y", y)):
            if side.discrete:
                sides.append(side.values)
                continue
            model = _projection(side.values[mask])
            kept[label] = share = float(model[-1].explained_variance_ratio_.sum())
            sides.append(transform(model, side.values))
            if share < 0.9:
                flags.append(f"{COMPONENTS} components hold {share:.0%} of the variance of {label}: "
                             "what the others carry is not counted")  # fmt: skip
            rows = side.values[mask]
            if (tied := 1 - len(np.unique(rows, axis=0)) / len(rows)) > TIED:
                flags.append(f"{tied:.0%} of the rows of {label} repeat another, where distances assume none to")
        terms = _terms(*sides, mask)
        used = np.isfinite(terms)
        if not used.any():
            raise_problems([f"no step has more than {NEIGHBOURS + 1} valid clips; nearest neighbours need more"])
        left_out = int((mask[:, _steps(mask)] & ~used[:, _steps(mask)]).sum())
        if y.discrete and left_out:
            flags.append(f"{left_out} clips are alone in their category and left out")
        value = float(terms[used].mean())
        cap = float(digamma(used.sum(axis=0).max()) - digamma(NEIGHBOURS))

        def replicates() -> np.ndarray:
            group = rng.permutation(len(mask)) % GROUPS
            rest = [_terms(*(z[group != g] for z in sides), mask[group != g]) for g in range(GROUPS)]
            left = [np.nanmean(some) if np.isfinite(some).any() else value for some in rest]
            error = np.sqrt((GROUPS - 1) * np.var(left))
            quantiles = (np.arange(settings.bootstrap) + 0.5) / settings.bootstrap
            return value + error * student.ppf(quantiles, GROUPS - 1)

        if value > 0.8 * cap:
            flags.append(f"near the most that {len(mask)} clips can show ({cap:.1f} nats): likely too low")
        detail = {f"explained_{label}": share for label, share in kept.items()}
        return {name: {"value": value, "replicates": replicates, "cap": cap, "flags": flags, "detail": detail}}

    return repeat({name: "estimate"}, run, x, y, mask, settings, seeds=1)[name]  # nothing is fitted: one seed


def _projection(rows: np.ndarray):
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    count = min(COMPONENTS, *rows.shape)
    return make_pipeline(StandardScaler(), PCA(count, whiten=True, svd_solver="full")).fit(rows)


def _steps(mask: np.ndarray) -> np.ndarray:
    return np.unique(np.linspace(0, mask.shape[1] - 1, min(STEPS, mask.shape[1])).round().astype(int))


def _terms(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Terms [n,T] of the estimate; NaN where there is none."""
    terms = np.full(mask.shape, np.nan)
    kernel = category_terms if y.ndim == 2 else ksg_terms
    for t in _steps(mask):
        rows = np.flatnonzero(mask[:, t])
        if len(rows) > NEIGHBOURS + 1:
            terms[rows, t] = kernel(x[rows, t], y[rows, t])
    return terms
