"""Mutual information from distances to nearest neighbours: no network, no bound, a third opinion."""

from __future__ import annotations

from typing import Any

import numpy as np

from srcid.information.clips import InformationError, Scaler, Side, complain, split_clips
from srcid.information.estimates import Estimate, Settings, repeat

GROUPS = 10  # of clips, left out in turn


def ksg_terms(x: np.ndarray, y: np.ndarray, neighbours: int) -> np.ndarray:
    """Terms whose mean is the KSG estimate of I(x;y) from independent rows x [n,dx], y [n,dy]; nats.

    Kraskov, Stögbauer and Grassberger (2004), Eq. 8: psi(k) + psi(n) - < psi(n_x + 1) + psi(n_y + 1) > with
    the maximum norm, n_x the rows strictly nearer in x than the k-th joint neighbour.
    """
    from scipy.special import digamma
    from sklearn.neighbors import KDTree, NearestNeighbors

    joint = NearestNeighbors(n_neighbors=neighbours, metric="chebyshev").fit(np.hstack([x, y]))
    radius = np.nextafter(joint.kneighbors()[0][:, -1], 0)
    # the counts include the row itself: n_x + 1
    inside = [KDTree(z, metric="chebyshev").query_radius(z, radius, count_only=True) for z in (x, y)]
    return digamma(neighbours) + digamma(len(x)) - digamma(inside[0]) - digamma(inside[1])


def ksg_category_terms(x: np.ndarray, category: np.ndarray, neighbours: int) -> np.ndarray:
    """Terms whose mean is I(x; category) from independent rows x [n,d]; nats (Ross 2014, Eq. 6).

    Rows whose category occurs once have no neighbour in it and contribute 0.
    """
    from scipy.special import digamma
    from sklearn.neighbors import KDTree, NearestNeighbors

    radius, own, size = np.zeros(len(x)), np.zeros(len(x)), np.ones(len(x))
    for value in np.unique(category):
        rows = np.flatnonzero(category == value)
        if len(rows) < 2:
            continue
        k = min(neighbours, len(rows) - 1)
        near = NearestNeighbors(n_neighbors=k, metric="chebyshev").fit(x[rows])
        radius[rows], own[rows], size[rows] = np.nextafter(near.kneighbors()[0][:, -1], 0), k, len(rows)
    inside = KDTree(x, metric="chebyshev").query_radius(x, radius, count_only=True)
    known = own > 0
    terms = digamma(known.sum()) + digamma(np.maximum(own, 1)) - digamma(size) - digamma(np.maximum(inside, 1))
    return np.where(known, terms, 0.0)


def nearest_neighbours(x: Side, y: Side, mask: np.ndarray, settings: Settings) -> Estimate:
    """KSG estimate on a few components of each continuous side, at each of up to 8 steps, averaged.

    With ``projection="pca"`` the components are the principal ones of all clips. With "cca" they are the
    canonical pairs of the fitting clips and the rest is scored. A projection can only lose information:
    ``detail`` has the share of variance kept, and a flag says when it is low.
    """

    from scipy.special import digamma
    from scipy.stats import t as student

    def run(x: Side, y: Side, mask: np.ndarray, seed: int) -> dict[str, Any]:
        rng = np.random.default_rng([seed, 5])
        fit = np.arange(len(mask))
        score = fit
        if settings.projection == "cca" and not y.discrete:
            parts = split_clips(len(mask), settings.split, rng)
            fit, score = parts["fit"], np.sort(np.concatenate([parts["stop"], parts["score"]]))
        scalers = _projections(x, y, mask, fit, settings)
        sides = [
            scaler.apply(side.values[score]) if scaler else side.values[score]
            for side, scaler in zip((x, y), scalers, strict=True)
        ]
        # ties (saturated or rounded features) break the continuity the estimator rests on
        sides = [z + 1e-10 * rng.standard_normal(z.shape) if z.ndim == 3 else z for z in sides]
        terms, used = _terms(*sides, mask[score], settings.neighbours)
        if not used.any():
            complain([f"no step has more than {settings.neighbours + 1} valid clips; nearest neighbours need more"])
        kept = [s.explained if s else 1.0 for s in scalers]
        cap = float(digamma(used.sum(axis=0).max()) - digamma(settings.neighbours))
        value = float(terms[used].mean())

        def replicates():
            group = rng.permutation(len(score)) % GROUPS
            left = []
            for g in range(GROUPS):
                rest = group != g
                some, valid = _terms(*(z[rest] for z in sides), mask[score][rest], settings.neighbours)
                left.append(some[valid].mean() if valid.any() else value)
            error = np.sqrt((GROUPS - 1) * np.var(left))
            quantiles = (np.arange(settings.bootstrap) + 0.5) / settings.bootstrap
            return value + error * student.ppf(quantiles, GROUPS - 1)

        flags = [
            f"{settings.projected} components hold {share:.0%} of the variance of {label}: "
            "what the others carry is not counted"
            for share, label in zip(kept, "xy", strict=True)
            if share < 0.9
        ]
        if value > 0.8 * cap:
            flags.append(f"near the most that {len(score)} clips can show ({cap:.1f} nats): likely too low")
        return {
            "value": value,
            "replicates": replicates,
            "cap": cap,
            "flags": flags,
            "detail": {"explained_x": kept[0], "explained_y": kept[1]},
        }

    if x.discrete:
        raise InformationError("nearest neighbours need continuous x; put the categories on side y")
    # nothing is fitted on the principal components: one seed
    name = "ross" if y.discrete else f"ksg-{settings.projection}"
    return repeat(
        name,
        "estimate",
        run,
        x,
        y,
        mask,
        settings,
        seeds=1 if settings.projection == "pca" or y.discrete else None,
    )


def _terms(x: np.ndarray, y: np.ndarray, mask: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Terms [n,T] of the estimate and where there are any, at up to 8 steps with enough valid clips."""
    terms, used = np.zeros(mask.shape), np.zeros_like(mask)
    kernel = ksg_category_terms if y.ndim == 2 else ksg_terms
    for t in np.unique(np.linspace(0, mask.shape[1] - 1, min(8, mask.shape[1])).round().astype(int)):
        rows = np.flatnonzero(mask[:, t])
        if len(rows) > neighbours + 1:
            terms[rows, t], used[rows, t] = kernel(x[rows, t], y[rows, t], neighbours), True
    return terms, used


def _projections(x: Side, y: Side, mask, fit, settings: Settings) -> list[Scaler | None]:
    k = settings.projected
    if settings.projection == "pca" or y.discrete:
        return [None if s.discrete else Scaler.learn(s.values[fit], mask[fit], k) for s in (x, y)]
    most = max(k, int(mask[fit].sum()) // 20)  # whitening more directions than that follows noise
    scalers = [Scaler.learn(s.values[fit], mask[fit], most) for s in (x, y)]
    white = [s.apply(side.values[fit])[mask[fit]] for s, side in zip(scalers, (x, y), strict=True)]
    left, _, right = np.linalg.svd(white[0].T @ white[1] / len(white[0]), full_matrices=False)
    return [
        Scaler(s.mean, s.scale, s.axes @ turn[:, :k], s.explained)
        for s, turn in zip(scalers, (left, right.T), strict=True)
    ]
