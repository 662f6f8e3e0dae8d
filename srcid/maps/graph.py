"""Exact nearest neighbours of points, and how well a map keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import stdtrit

from srcid.cache import Cache
from srcid.maps.points import MapError
from srcid.statistics import Interval

_BLOCK = 2000  # points whose neighbours are looked at together


@dataclass(frozen=True)
class Graph:
    """The exact nearest neighbours of every point, itself left out, the nearest first.

    Attributes:
        indices, distances: int32 and float32 ``[n, k]``; Euclidean.
    """

    indices: np.ndarray
    distances: np.ndarray

    @property
    def size(self) -> int:
        """Number k of neighbours a point."""
        return self.indices.shape[1]


@dataclass(frozen=True)
class Quality:
    """How far a map can be trusted.

    Where points lie equally far from one another (copies of a few rows, say), which of them count as the nearest is
    arbitrary; those as near as the k-th nearest count as kept.

    Attributes:
        k: neighbours a point that are compared.
        trustworthiness: 1 where neighbours in the map are neighbours in truth (Venna and Kaski, 2001), from
            ``sampled`` points; a random map has about 0.5.
        preservation: share of a point's ``k`` nearest neighbours in the map that are among its ``k`` nearest in truth.
        mixing: share of the ``k`` nearest neighbours that belong to another modality, in the "features" and in the
            "map"; empty where there is one modality only. Intervals are over clips.
        mixing_chance: the same share if modalities were strewn at random; NaN where there is one modality only.
        ties: share of points with more points as near as the k-th nearest neighbour.
    """

    k: int
    trustworthiness: float
    sampled: int
    preservation: Interval
    mixing: dict[str, Interval]
    mixing_chance: float
    ties: float = 0.0

    @property
    def finding(self) -> str:
        """The numbers in a sentence."""
        text = (
            f"Trustworthiness {self.trustworthiness:.3f} (k = {self.k}, {self.sampled:,} points), "
            f"{percent(self.preservation)} of the {self.k} nearest neighbours kept"
        )
        if self.mixing:
            text += (
                f"; neighbours of another modality: {percent(self.mixing['features'])} in the features, "
                f"{percent(self.mixing['map'])} in the map, {100 * self.mixing_chance:.1f} % by chance"
            )
        if self.ties > 0.01:
            text += (
                f"; {self.ties:.0%} of points have more than {self.k} nearest neighbours, all of which count as kept"
            )
        return text + ("; ±: 95 % intervals over clips" if self.preservation.known else "")


def percent(share: Interval) -> str:
    """A share in percent, ± half its interval if it has one."""
    around = f" ± {50 * (share.high - share.low):.1f}" if share.known else ""
    return f"{100 * share.value:.1f}{around} %"


def neighbour_graph(features: np.ndarray, k: int = 91, cache: str | Path | None = None) -> Graph:
    """Find the ``k`` nearest neighbours of every row of ``features [n, D]`` exactly, in bounded memory.

    91 serve t-SNE of perplexity 30 and any smaller need. With a ``cache`` folder a graph found before serves again.

    Raises:
        MapError: ``k`` or fewer points.
    """
    features = np.ascontiguousarray(features, dtype=np.float32)
    if not 1 <= k < len(features):
        raise MapError("no neighbours:", f"found {len(features)} points; need more than the {k} neighbours asked for")
    store = Cache(cache)
    key = store.key(features, what="neighbours")
    kept = store.read(key)
    if kept is not None and kept["indices"].shape[1] >= k:
        return Graph(kept["indices"], kept["distances"])
    from sklearn.neighbors import NearestNeighbors

    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features).kneighbors()
    graph = Graph(indices.astype(np.int32), distances.astype(np.float32))
    store.write(key, indices=graph.indices, distances=graph.distances)
    return graph


def mixing(indices: np.ndarray, modality: np.ndarray) -> tuple[np.ndarray, float]:
    """Share of each point's neighbours (``indices [n, k]``) that are of another modality, and its mean by chance."""
    _, member = np.unique(modality, return_inverse=True)
    share, n = np.bincount(member) / len(member), len(member)
    each = (modality[indices] != modality[:, None]).mean(axis=1)
    return each, float((share * (1 - share)).sum() * n / (n - 1))


def quality_of(features: np.ndarray, coordinates: np.ndarray, modality: np.ndarray | None, graph: Graph,
               k: int = 10, most: int = 2000, seed: int = 0, clips: np.ndarray | None = None) -> Quality:  # fmt: skip
    """Measure a map: ``features [n, D]`` and their ``coordinates [n, d]``.

    Args:
        modality: ``[n]``, or None where points have none.
        graph: neighbours of the features; ``k`` is lowered to what it holds.
        most: points that trustworthiness and ties are computed from (their cost grows with the square).
        clips: clip of each point, for intervals.
    """
    n = len(features)
    k = max(1, min(k, graph.size, (n - 1) // 2))
    true, mapped = graph.indices[:, :k], _nearest(coordinates, k)
    # distances are found anew: those of a graph are rounded, and copies would not be at 0
    radius = _squares(features, true).max(axis=1, keepdims=True)
    kept = (_squares(features, mapped) <= radius * (1 + 1e-6)).mean(axis=1)
    shares, chance = {}, float("nan")
    if modality is not None and (modality != modality[0]).any():
        for name, indices in (("features", true), ("map", mapped)):
            each, chance = mixing(indices, modality)
            shares[name] = _clip_interval(each, clips)
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:most])
    trust, ties = _trustworthiness(features[chosen], coordinates[chosen], min(k, (len(chosen) - 1) // 2))
    return Quality(k, trust, len(chosen), _clip_interval(kept, clips), shares, chance, ties)


def _nearest(coordinates: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` nearest neighbours of each point of a map, itself left out."""
    n = len(coordinates)
    near = cKDTree(coordinates).query(coordinates, k + 1)[1]
    itself = near == np.arange(n)[:, None]
    itself[~itself.any(axis=1), -1] = True  # crowded out by points at the same place
    return near[~itself].reshape(n, k)


def _squares(features: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Squared distances between each point and those of ``indices [n, k]``; exactly 0 between copies."""
    starts = range(0, len(features), _BLOCK)
    blocks = [slice(start, start + _BLOCK) for start in starts]
    return np.concatenate([((features[indices[b]] - features[b, None]) ** 2).sum(axis=-1) for b in blocks])


def _trustworthiness(features: np.ndarray, coordinates: np.ndarray, k: int) -> tuple[float, float]:
    """Trustworthiness as Venna and Kaski (2001) define it, equal distances sharing the best rank; share of ties.

    scikit-learn's gives equal distances ranks in the order of rows, and so calls a perfect map of copies poor.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    n, near = len(features), _nearest(coordinates, k)
    centred = np.asarray(features, float) - features.mean(axis=0)
    squares = euclidean_distances(centred, squared=True)
    ordered = np.sort(squares, axis=1)
    slack = 1e-12 * (centred**2).sum(axis=1).max()  # rounding
    wanted = np.take_along_axis(squares, near, axis=1) - slack
    rank = np.stack([np.searchsorted(row, values) for row, values in zip(ordered, wanted, strict=True)])
    trust = 1 - 2 * np.maximum(rank - k, 0).sum() / (n * k * (2 * n - 3 * k - 1))
    ties = float((ordered[:, k + 1] - ordered[:, k] <= slack).mean()) if k + 1 < n else 0.0
    return float(trust), ties


def _clip_interval(values: np.ndarray, clips: np.ndarray | None) -> Interval:
    """The mean of ``values [n]`` and its 95 % interval; the points of a clip count as one draw (sandwich estimate)."""
    mean = float(values.mean())
    _, member = np.unique(np.zeros(0) if clips is None else clips, return_inverse=True)
    number = int(member.max(initial=-1)) + 1
    if number < 2:
        return Interval(mean, n=number)
    sums = np.bincount(member, values - mean)
    error = np.sqrt((sums**2).sum() * number / (number - 1)) / len(values)
    half = float(stdtrit(number - 1, 0.975) * error)
    return Interval(mean, mean - half, mean + half, n=number)
