"""Exact nearest neighbours of points, and how well a map keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from srcid.cache import MapCache
from srcid.symbols import DiagnosticsError


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
    """How far a map can be believed.

    Attributes:
        trustworthiness: 1 where neighbours in the map are neighbours in truth (Venna and Kaski, 2001), from
            ``sampled`` points; a random map has about 0.5.
        preservation: share of a point's ``k`` nearest neighbours that are among its ``k`` nearest in the map.
        mixing: by place ("features", "map"): share of the ``k`` nearest neighbours that belong to another
            modality. NaN where there is one modality only.
        mixing_chance: the same share if modalities were strewn at random.
        errors: standard errors of "preservation", "mixing/features" and "mixing/map" over clips (points of one
            clip count as one draw); empty where clips are not known.
    """

    k: int
    trustworthiness: float
    sampled: int
    preservation: float
    mixing: dict[str, float]
    mixing_chance: float
    errors: dict[str, float] = field(default_factory=dict)

    def percent(self, name: str) -> str:
        """``preservation``, ``mixing/features`` or ``mixing/map`` in percent, with a 95 % interval if known."""
        value = self.preservation if name == "preservation" else self.mixing[name.removeprefix("mixing/")]
        around = f" ± {196 * self.errors[name]:.1f}" if name in self.errors else ""
        return f"{100 * value:.1f}{around} %"

    def sentence(self) -> str:
        """The numbers, for a caption."""
        text = (
            f"trustworthiness {self.trustworthiness:.3f} (k = {self.k}, {self.sampled:,} points), "
            f"{self.percent('preservation')} of the {self.k} nearest neighbours kept"
        )
        if np.isfinite(self.mixing_chance):
            text += (
                f"; neighbours of another modality: {self.percent('mixing/features')} in the features, "
                f"{self.percent('mixing/map')} in the map, {100 * self.mixing_chance:.1f} % by chance"
            )
        return text + ("; ±: 95 % intervals over clips" if self.errors else "")


def neighbour_graph(features: np.ndarray, k: int = 91, cache: str | Path | None = None) -> Graph:
    """Find the ``k`` nearest neighbours of every row of ``features [n, D]`` exactly, in bounded memory.

    91 serve t-SNE of perplexity 30 and any smaller need. With a ``cache`` folder a graph found before serves
    again.

    Raises:
        DiagnosticsError: ``k`` or fewer points.
    """
    features = np.ascontiguousarray(features, dtype=np.float32)
    if not 1 <= k < len(features):
        raise DiagnosticsError(f"found {len(features)} points; need more than the {k} neighbours asked for")
    store = MapCache(cache)
    key = store.key(features, what="neighbours")
    kept = store.read(key)
    if kept is not None and kept["indices"].shape[1] >= k:
        return Graph(kept["indices"], kept["distances"])
    from sklearn.neighbors import NearestNeighbors

    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features).kneighbors()
    graph = Graph(indices.astype(np.int32), distances.astype(np.float32))
    store.write(key, indices=graph.indices, distances=graph.distances)
    return graph


def mixing(indices: np.ndarray, modality: np.ndarray) -> tuple[float, float]:
    """Share of neighbours (``indices [n, k]``) of another modality, and the share expected by chance.

    Both are NaN where there is one modality only.
    """
    _, member = np.unique(modality, return_inverse=True)
    share, n = np.bincount(member) / len(member), len(member)
    if len(share) < 2:
        return float("nan"), float("nan")
    return float(_others(indices, modality).mean()), float((share * (1 - share)).sum() * n / (n - 1))


def _others(indices: np.ndarray, modality: np.ndarray) -> np.ndarray:
    """Share of each point's neighbours that are of another modality."""
    return (modality[indices] != modality[:, None]).mean(axis=1)


def _error(values: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of the mean of ``values`` drawn in ``groups`` (the sandwich estimate for one mean)."""
    member = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(member, values - values.mean())
    return float(np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)) / len(values))


def quality_of(features: np.ndarray, coordinates: np.ndarray, modality: np.ndarray | None, graph: Graph,
               k: int = 10, most: int = 2000, seed: int = 0, clips: np.ndarray | None = None) -> Quality:  # fmt: skip
    """Measure a map: ``features [n, D]`` and their ``coordinates [n, d]``.

    Args:
        modality: ``[n]``, or None where points have none.
        graph: neighbours of the features; ``k`` is lowered to what it holds.
        most: points that the trustworthiness is computed from (its cost grows with their square).
        clips: clip of each point, for standard errors.
    """
    from scipy.spatial import cKDTree
    from sklearn.manifold import trustworthiness

    n = len(features)
    k = max(1, min(k, graph.size, (n - 1) // 2))
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:most])
    near_k = min(k, (len(chosen) - 1) // 2)
    trust = trustworthiness(features[chosen], coordinates[chosen], n_neighbors=near_k)
    near = cKDTree(coordinates).query(coordinates, k + 1)[1]
    itself = near == np.arange(n)[:, None]
    itself[~itself.any(axis=1), -1] = True  # crowded out by points at the same place
    mapped, true = near[~itself].reshape(n, k), graph.indices[:, :k]
    each = {"preservation": (mapped[:, :, None] == true[:, None, :]).any(axis=2).mean(axis=1)}
    place, chance = {"features": float("nan"), "map": float("nan")}, float("nan")
    if modality is not None and (modality != modality[0]).any():
        for name, indices in (("features", true), ("map", mapped)):
            place[name], chance = mixing(indices, modality)
            each[f"mixing/{name}"] = _others(indices, modality)
    errors = {} if clips is None else {name: _error(values, clips) for name, values in each.items()}
    return Quality(k, float(trust), len(chosen), float(each["preservation"].mean()), place, chance, errors)
