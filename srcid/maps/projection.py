"""Maps of features and codebooks: t-SNE, UMAP and PCA in two or three dimensions, with their quality.

Both t-SNE and UMAP start from the nearest neighbours of every point. They are found here once, exactly, and
handed to either method; besides being shared, this spares UMAP the compilation of its approximate search in
every fresh process. t-SNE is openTSNE's, which makes maps of two dimensions.

A map is judged by numbers beside it (:class:`Quality`), reproduces bit for bit on one machine from its
seed, and is cached on disk by its content: features, parameters, versions of the libraries.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from srcid.cache import Cache
from srcid.maps.graph import Graph, Quality, neighbour_graph, percent, quality_of
from srcid.maps.points import MapError, Points

# the package that computes each method, and those whose version matters beside it
PACKAGES = {
    "tsne": ("openTSNE", "scikit-learn"),
    "umap": ("umap-learn", "scikit-learn", "numba"),
    "pca": ("scikit-learn",),
}
TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
PERPLEXITY, NEIGHBOURS, MIN_DIST = 30.0, 15, 0.1
LEAST = 5


@dataclass(frozen=True)
class Projection:
    """A map and what it shows.

    Attributes:
        coordinates: float32 ``[n, dimensions]``.
        columns: by name, ``[n]``: code, layer, modality, label, clip, step and others of :class:`Points`.
        method: "tsne", "umap" or "pca".
        params: all that the coordinates depend on beside the features, library and versions included.
        quality: see :class:`Quality`.
        notes: how points were chosen, which parameters were lowered for few points.
        cached: whether it was made before.
        order: of columns that hold classes, their names in the order of the data.
    """

    coordinates: np.ndarray
    columns: dict[str, np.ndarray]
    method: str
    params: dict[str, Any]
    quality: Quality
    title: str
    notes: tuple[str, ...]
    cached: bool = False
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def dimensions(self) -> int:
        return self.coordinates.shape[1]

    @property
    def name(self) -> str:
        """A name fit for a file: ``general_features_of_layer_1-tsne-2d``."""
        return f"{self.title}-{self.method}-{self.dimensions}d".replace(",", "").replace(" ", "_")

    @property
    def clips(self) -> str:
        """The clips that the points are from: ``test clips``, ``train, val and test clips``, or nothing."""
        found = {str(name) for name in self.columns.get("split", ()) if name}
        names = sorted(found, key=lambda name: (name != "train", name == "test", name))
        return (", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1] + " clips") if names else ""

    @property
    def finding(self) -> str:
        """How mixed the modalities are in the features themselves; of one modality, how good the map is."""
        where = f"{self.title[:1].upper()}{self.title[1:]}" + (f" ({self.clips})" if self.clips else "")
        mixed = self.quality.mixing.get("features")
        if mixed is None:
            kept = percent(self.quality.preservation)
            return f"{where}: {TITLES[self.method]} keeps {kept} of a point's {self.quality.k} nearest neighbours"
        chance = f"{100 * self.quality.mixing_chance:.1f} %"
        return f"{where}: {percent(mixed)} of a point's neighbours are of another modality (chance {chance})"

    def recipe(self) -> str:
        """Method, number of points, parameters, seed and library in a few words."""
        parts = [f"{name} {self.params[name]:.3g}" for name in ("perplexity", "neighbours") if name in self.params]
        library = PACKAGES[self.method][0]
        parts += [f"seed {self.params['seed']}", f"{library} {self.params['versions'][library]}"]
        return f"{TITLES[self.method]} of {len(self.coordinates):,} points ({', '.join(parts)})"

    def caption(self) -> str:
        """Method, parameters, seed, number of points, sampling and quality in one paragraph."""
        text = f"{self.title}: {self.recipe()}. "
        return text + " ".join(f"{note[:1].upper()}{note[1:]}." for note in (*self.notes, self.quality.finding))

    def frame(self) -> Any:
        """The points as a pandas DataFrame: x, y, (z,) and the columns."""
        axes = dict(zip("xyz", self.coordinates.T, strict=False))
        return pd.DataFrame({**axes, **self.columns})

    def to_parquet(self, path: str | Path) -> Path:
        """Write the points for other viewers; caption, parameters and quality go into the file's metadata."""
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.Table.from_pandas(self.frame(), preserve_index=False)
        about = dict(caption=self.caption(), method=self.method, params=self.params, quality=asdict(self.quality))
        metadata = {**(table.schema.metadata or {}), b"srcid": json.dumps(about).encode()}
        parquet.write_table(table.replace_schema_metadata(metadata), path)
        return Path(path)


def project(
    points: Points | np.ndarray,
    method: str = "tsne",
    dimensions: int = 2,
    perplexity: float | None = None,
    neighbours: int | None = None,
    seed: int = 0,
    graph: Graph | None = None,
    cache: str | Path | None = None,
) -> Projection:
    """Map points to two or three dimensions.

    Args:
        points: :class:`Points`, or features ``[n, D]``.
        method: "tsne" (two dimensions), "umap" or "pca" (the control that is always possible).
        perplexity: of t-SNE; None: 30, or less for few points. The graph needs 3 times as many neighbours.
        neighbours: of UMAP, the point itself included; None: 15, or less for few points.
        graph: neighbours of the same features, to share them, from :func:`neighbour_graph`;
            found here where None or too small.
        cache: folder of results; None: none is kept.

    Raises:
        MapError: too few points for the method or a parameter given, features that are not finite, all equal, or too
            large or too small to take distances of, a method that is not there; all problems at once.
    """
    points = points if isinstance(points, Points) else Points.of(points)
    settings, notes = _settings(method, len(points.features), perplexity, neighbours)
    problems = [
        *_problems_of_settings(method, dimensions, len(points.features), settings),
        *_problems_of(points.features),
    ]
    MapError.check("this map cannot be made:", problems)
    features = np.ascontiguousarray(points.features, dtype=np.float32)
    clips = points.columns.get("clip")
    modality = None if clips is None and "uses" in points.columns else points.columns.get("modality")
    versions = {package: version(package) for package in (*PACKAGES[method], "numpy")}
    params = dict(dimensions=dimensions, seed=seed, **settings, versions=versions)
    store = Cache(cache)
    key = store.key(features, modality, clips, method=method, params=params, format=2)
    kept = store.read(key)
    if kept is None:
        k = min(max(_needed(settings), 10), len(features) - 1)
        if graph is None or graph.size < k or len(graph.indices) != len(features):
            graph = neighbour_graph(features, k, cache)
        coordinates = _COMPUTE[method](features, dimensions, seed, graph, **settings)
        quality = quality_of(features, coordinates, modality, graph, seed=seed, clips=clips)
        store.write(key, coordinates=coordinates, quality=json.dumps(asdict(quality)))
    else:
        from pydantic import TypeAdapter

        coordinates, quality = kept["coordinates"], TypeAdapter(Quality).validate_json(str(kept["quality"]))
    notes = tuple(note for note in (points.note, *notes) if note)
    return Projection(
        coordinates, points.columns, method, params, quality, points.title, notes, kept is not None, points.order
    )


def _settings(method: str, n: int, perplexity: float | None,
              neighbours: int | None) -> tuple[dict[str, float], list[str]]:  # fmt: skip
    """Settings of a method for ``n`` points, and notes on what was lowered for them."""
    if method == "tsne":
        name, asked, usual, most = "perplexity", perplexity, PERPLEXITY, max((n - 2) / 3, 1.0)
    elif method == "umap":
        name, asked, usual, most = "neighbours", neighbours, NEIGHBOURS, n - 1
    else:
        return {}, []
    if asked is not None:
        return {name: type(usual)(asked)}, []
    note = f"{name} lowered from {usual:g} to {most:.3g}, for there are {n} points"
    return {name: min(usual, most)}, [note] if most < usual else []


def _needed(settings: dict[str, float]) -> int:
    """Neighbours a point that a method needs."""
    # UMAP counts the point itself
    return int(3 * settings["perplexity"]) + 1 if "perplexity" in settings else int(settings.get("neighbours", 1)) - 1


def _problems_of_settings(method: str, dimensions: int, n: int, settings: dict[str, float]) -> list[str]:
    problems = []
    if method not in PACKAGES:
        problems.append(f"found the method '{method}', need one of {', '.join(PACKAGES)}")
    if dimensions not in (2, 3):
        problems.append(f"found {dimensions} dimensions, need 2 or 3")
    if method == "tsne" and dimensions == 3:
        problems.append("found 3 dimensions, need 2 for t-SNE; take umap or pca")
    if n < LEAST:
        problems.append(f"found {n} points, need {LEAST} or more for a map; choose more codes or clips")
        return problems
    perplexity, neighbours = settings.get("perplexity"), settings.get("neighbours")
    most = max((n - 2) / 3, 1.0)
    if perplexity is not None and perplexity < 1:
        problems.append(f"found perplexity {perplexity:g}, need 1 or more; leave it out")
    elif perplexity is not None and perplexity > most:
        problems.append(
            f"found {n} points for perplexity {perplexity:g}, need more than {3 * perplexity + 1:.0f}; "
            f"lower it to {most:.0f} or leave it out"
        )
    if neighbours is not None and not 2 <= neighbours < n:
        problems.append(f"found {n} points for {neighbours} neighbours, need more points than that, and 2 or more")
    return problems


def _problems_of(features: np.ndarray) -> list[str]:
    n = len(features)
    if n < LEAST:
        return []
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        return [f"found {n - finite.sum()} of {n} points with NaN or infinite features; leave them out"]
    low, high = float(features.min()), float(features.max())
    spread = float(np.ptp(features, axis=0).max(initial=0))
    if spread == 0:
        return [f"all {n} points are the same; there is nothing to map"]
    # squares of differences and their sums over all points and dimensions must be numbers in single precision
    single = np.finfo(np.float32)
    largest, least = float(np.sqrt(single.max / features.size)) / 4, 1e3 * float(np.sqrt(single.tiny))
    if max(-low, high) > largest or spread < least:
        return [
            f"found features from {low:.3g} to {high:.3g}, whose squared distances are beyond single precision; "
            f"need values up to {largest:.0e} that differ by {least:.0e} or more; divide by their standard deviation"
        ]
    return []


def _pca(features: np.ndarray, dimensions: int, seed: int, graph: Graph | None = None) -> np.ndarray:
    from sklearn.decomposition import PCA

    possible = min(dimensions, *features.shape)
    solver = "covariance_eigh" if features.shape[1] <= 1000 else "randomized"
    found = PCA(possible, svd_solver=solver, random_state=seed).fit_transform(features)
    return np.pad(found, ((0, 0), (0, dimensions - possible))).astype(np.float32)  # width 1 fills one axis only


def _tsne(features: np.ndarray, dimensions: int, seed: int, graph: Graph, perplexity: float) -> np.ndarray:
    import openTSNE

    k, threads = int(3 * perplexity), int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count()
    known = openTSNE.nearest_neighbors.PrecomputedNeighbors(
        graph.indices[:, :k], np.asarray(graph.distances[:, :k], dtype=np.float64)
    )
    affinities = openTSNE.affinity.PerplexityBasedNN(knn_index=known, perplexity=perplexity, n_jobs=threads)
    start = _pca(features, dimensions, seed).astype(np.float64)
    start = start / start[:, 0].std() * 1e-4  # the small scale at which t-SNE starts
    # points on top of each other never part in t-SNE: its forces on them are equal
    start += np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)
    # each thread sums the forces on points of its own: any number of them gives the same bits
    model = openTSNE.TSNE(n_components=dimensions, n_jobs=threads, random_state=seed)
    return np.asarray(model.fit(affinities=affinities, initialization=start), dtype=np.float32)


def _umap(features: np.ndarray, dimensions: int, seed: int, graph: Graph, neighbours: int) -> np.ndarray:  # fmt: skip
    n = len(features)
    # UMAP expects each point as its own first neighbour, and exactly as many columns as it uses
    indices = np.hstack([np.arange(n, dtype=np.int32)[:, None], graph.indices[:, : neighbours - 1]])
    distances = np.hstack([np.zeros((n, 1), np.float32), graph.distances[:, : neighbours - 1]])
    with warnings.catch_warnings():
        # harmless here: no TensorFlow, and no search index for new points beside the exact neighbours
        warnings.filterwarnings("ignore", category=ImportWarning)
        warnings.filterwarnings("ignore", message=".*precomputed_knn.*")
        warnings.filterwarnings("ignore", message=".*Spectral initialisation failed.*")
        import umap

        model = umap.UMAP(
            n_neighbors=neighbours,
            n_components=dimensions,
            min_dist=MIN_DIST,
            random_state=seed,
            n_jobs=1,  # a seed makes UMAP single-threaded; said here, it does not warn
            precomputed_knn=(indices, distances),
        )
        return np.asarray(model.fit_transform(features), dtype=np.float32)


_COMPUTE = {"tsne": _tsne, "umap": _umap, "pca": _pca}
