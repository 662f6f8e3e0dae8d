"""Maps of features and codebooks: t-SNE, UMAP and PCA in two or three dimensions, with their quality.

Both t-SNE and UMAP start from the nearest neighbours of every point. They are found here once, exactly, and
handed to either method; besides being shared, this spares UMAP the compilation of its approximate search in
every fresh process. t-SNE is openTSNE's; scikit-learn's stands in where openTSNE is missing, and for three
dimensions, which openTSNE does not offer.

A map is judged by numbers beside it (:class:`Quality`), reproduces bit for bit on one machine from its
seed, and is cached on disk by its content: features, parameters, versions of the libraries.
"""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from srcid.cache import MapCache
from srcid.maps.graph import Graph, Quality, neighbour_graph, quality_of
from srcid.maps.points import Points
from srcid.symbols import DiagnosticsError

METHODS = ("tsne", "umap", "pca")
TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
PERPLEXITY, NEIGHBOURS = 30.0, 15
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
        seconds: time the computation took; ``cached`` tells whether it was spared this time.
    """

    coordinates: np.ndarray
    columns: dict[str, np.ndarray]
    method: str
    params: dict[str, Any]
    quality: Quality
    title: str
    notes: tuple[str, ...]
    seconds: float
    cached: bool = False

    @property
    def dimensions(self) -> int:
        return self.coordinates.shape[1]

    @property
    def name(self) -> str:
        """A name fit for a file: ``general_features_of_layer_1-tsne-2d``."""
        return f"{self.title}-{self.method}-{self.dimensions}d".replace(",", "").replace(" ", "_")

    def recipe(self) -> str:
        """Method, number of points, parameters, seed and library in a few words."""
        told = {"perplexity": "perplexity", "neighbours": "neighbours", "min_dist": "min. distance"}
        parts = [f"{title} {self.params[name]:.3g}" for name, title in told.items() if name in self.params]
        library = self.params["library"]
        version = self.params["versions"].get(library, "")
        parts += [f"seed {self.params['seed']}", f"{library} {version}".strip()]
        return f"{TITLES[self.method]} of {len(self.coordinates):,} points ({', '.join(parts)})"

    def caption(self) -> str:
        """Method, parameters, seed, number of points, sampling and quality in one paragraph."""
        text = f"{self.title}: {self.recipe()}. "
        return text + " ".join(f"{note[:1].upper()}{note[1:]}." for note in (*self.notes, self.quality.sentence()))

    def frame(self) -> Any:
        """The points as a pandas DataFrame: x, y, (z,) and the columns."""
        import pandas

        axes = dict(zip("xyz", self.coordinates.T, strict=False))
        return pandas.DataFrame({**axes, **self.columns})

    def to_parquet(self, path: str | Path) -> Path:
        """Write the points for other viewers; caption, parameters and quality go into the file's metadata."""
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.Table.from_pandas(self.frame(), preserve_index=False)
        about = dict(caption=self.caption(), method=self.method, params=self.params, quality=vars(self.quality))
        metadata = {**(table.schema.metadata or {}), b"srcid": json.dumps(about).encode()}
        parquet.write_table(table.replace_schema_metadata(metadata), path)
        return Path(path)


@dataclass(frozen=True)
class _Request:
    """What coordinates depend on, beside the features."""

    method: str
    dimensions: int
    seed: int
    library: str
    settings: dict[str, float]
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def neighbours(self) -> int:
        """Neighbours a point that the method and the measures of quality need."""
        if self.method == "umap":
            return int(self.settings["neighbours"]) - 1  # UMAP counts the point itself
        return int(3 * self.settings["perplexity"]) + 1 if self.method == "tsne" else 0

    def params(self) -> dict[str, Any]:
        return dict(dimensions=self.dimensions, seed=self.seed, library=self.library, **self.settings,
                    versions=self.versions)  # fmt: skip


def project(points: Points | np.ndarray, method: str = "tsne", dimensions: int = 2,
            perplexity: float | None = None, neighbours: int | None = None, min_dist: float = 0.1,
            seed: int = 0, graph: Graph | None = None, cache: str | Path | None = None, library: str = "auto",
            n_jobs: int = 1) -> Projection:  # fmt: skip
    """Map points to two or three dimensions.

    Args:
        points: :class:`Points`, or features ``[n, D]``.
        method: "tsne", "umap" or "pca" (the control that is always possible).
        perplexity: of t-SNE; None: 30, or less for few points. The graph needs 3 times as many neighbours.
        neighbours: of UMAP, the point itself included; None: 15, or less for few points.
        min_dist: of UMAP: how close points may lie in the map.
        graph: neighbours of the same features, to share them, from :func:`neighbour_graph`;
            found here where None or too small.
        cache: folder of results; None: none is kept.
        library: of t-SNE: "openTSNE", "scikit-learn", or "auto" for the first that can do it.
        n_jobs: threads of t-SNE; more than one may change the last bits of the result.

    Raises:
        DiagnosticsError: too few points for the method or a parameter given, features that are not finite
            or all equal, a method or library that is not there; all problems at once.
    """
    points = points if isinstance(points, Points) else Points.of(points)
    features = np.ascontiguousarray(points.features, dtype=np.float32)
    request = _checked(features, method, dimensions, perplexity, neighbours, min_dist, seed, library)
    clips, params = points.columns.get("clip"), request.params()
    modality = None if clips is None and "uses" in points.columns else points.columns.get("modality")
    store = MapCache(cache)
    key = store.key(features, modality, clips, method=method, params=params)
    kept = store.read(key)
    if kept is None:
        start = time.perf_counter()
        k = min(max(request.neighbours, 10), len(features) - 1)
        if graph is None or graph.size < k or len(graph.indices) != len(features):
            graph = neighbour_graph(features, k, cache)
        coordinates = _COMPUTE[method](features, request, graph, n_jobs)
        quality = quality_of(features, coordinates, modality, graph, seed=seed, clips=clips)
        seconds = time.perf_counter() - start
        about = json.dumps(dict(quality=vars(quality), seconds=seconds))
        store.write(key, coordinates=coordinates, about=about)
    else:
        about = json.loads(str(kept["about"]))
        coordinates, quality, seconds = kept["coordinates"], Quality(**about["quality"]), about["seconds"]
    notes = tuple(note for note in (points.note, *request.notes) if note)
    return Projection(
        coordinates=coordinates, columns=points.columns, method=method, params=params, quality=quality,
        title=points.title, notes=notes, seconds=seconds,
        cached=kept is not None,
    )  # fmt: skip


def _checked(features: np.ndarray, method: str, dimensions: int, perplexity: float | None,
             neighbours: int | None, min_dist: float, seed: int, library: str) -> _Request:  # fmt: skip
    """Resolve parameters; complain of everything that is wrong at once."""
    problems, notes, n = [], [], len(features)
    settings: dict[str, float] = {}
    if method not in METHODS:
        problems.append(f"found the method '{method}', need one of {', '.join(METHODS)}")
    if dimensions not in (2, 3):
        problems.append(f"found {dimensions} dimensions, need 2 or 3")
    if n < LEAST:
        problems.append(f"found {n} points, need {LEAST} or more for a map; choose more codes or clips")
    elif not np.isfinite(features).all():
        bad = int((~np.isfinite(features).all(axis=1)).sum())
        problems.append(f"found {bad} of {n} points with NaN or infinite features; leave them out")
    elif not np.ptp(features, axis=0).any():
        problems.append(f"all {n} points are the same; there is nothing to map")
    if method == "tsne":
        most = max((n - 2) / 3, 1.0)
        settings["perplexity"] = min(PERPLEXITY, most) if perplexity is None else float(perplexity)
        if settings["perplexity"] > most or settings["perplexity"] < 1:
            problems.append(
                f"found {n} points for perplexity {perplexity:g}, need more than {3 * perplexity + 1:.0f}; "
                f"lower it to {most:.0f} or leave it out"
            )
        if perplexity is None and most < PERPLEXITY:
            notes.append(f"perplexity lowered from {PERPLEXITY:g} to {most:.3g}, for there are {n} points")
    if method == "umap":
        settings["neighbours"] = min(NEIGHBOURS, n - 1) if neighbours is None else int(neighbours)
        settings["min_dist"] = float(min_dist)
        if not 2 <= settings["neighbours"] < max(n, 3):
            problems.append(f"found {n} points for {neighbours} neighbours, need more points than that, and 2 or more")
        if neighbours is None and n - 1 < NEIGHBOURS:
            notes.append(f"neighbours lowered from {NEIGHBOURS} to {n - 1}, for there are {n} points")
        if not 0 <= min_dist <= 1:
            problems.append(f"found min_dist {min_dist:g}, need 0 to 1")
    try:
        library, packages = _library(method, dimensions, library)
    except DiagnosticsError as problem:
        problems.append(str(problem))
    if problems:
        raise DiagnosticsError("this map cannot be made: " + "; ".join(problems))
    return _Request(method, dimensions, seed, library, settings, tuple(notes), _versions(*packages, "numpy"))


def _library(method: str, dimensions: int, wanted: str) -> tuple[str, tuple[str, ...]]:
    """Who computes it: (name for the caption, packages whose versions matter)."""
    if method == "umap":
        if not _versions("umap-learn"):
            raise DiagnosticsError("UMAP needs umap-learn; run 'pip install umap-learn'")
        return "umap-learn", ("umap-learn", "scikit-learn", "numba")
    if method != "tsne":
        return "scikit-learn", ("scikit-learn",)
    if wanted not in ("auto", "openTSNE", "scikit-learn"):
        raise DiagnosticsError(f"found the library '{wanted}', need auto, openTSNE or scikit-learn")
    if wanted == "openTSNE" and dimensions > 2:
        raise DiagnosticsError("openTSNE makes no maps of 3 dimensions; take library='scikit-learn'")
    if wanted == "openTSNE" and not _versions("openTSNE"):
        raise DiagnosticsError("found no openTSNE; run 'pip install openTSNE' or take library='scikit-learn'")
    if wanted != "scikit-learn" and dimensions == 2 and _versions("openTSNE"):
        return "openTSNE", ("openTSNE", "scikit-learn")
    return "scikit-learn", ("scikit-learn",)


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _pca(features: np.ndarray, request: _Request, graph: Graph, n_jobs: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    dimensions = min(request.dimensions, *features.shape)
    solver = "covariance_eigh" if features.shape[1] <= 1000 else "randomized"
    found = PCA(dimensions, svd_solver=solver, random_state=request.seed).fit_transform(features)
    missing = request.dimensions - dimensions  # features of width 1 fill one axis only
    return np.pad(found, ((0, 0), (0, missing))).astype(np.float32)


def _start(features: np.ndarray, request: _Request, graph: Graph) -> np.ndarray:
    """Principal components at the small scale at which t-SNE starts."""
    start = _pca(features, request, graph, 1).astype(np.float64)
    start = start / start[:, 0].std() * 1e-4
    # points on top of each other never part in t-SNE: its forces on them are equal
    return start + np.random.default_rng(request.seed).normal(scale=1e-6, size=start.shape)


def _tsne(features: np.ndarray, request: _Request, graph: Graph, n_jobs: int) -> np.ndarray:
    compute = _open_tsne if request.library == "openTSNE" else _scikit_tsne
    found = compute(features, request, graph, n_jobs)
    return np.asarray(found, dtype=np.float32)


def _open_tsne(features: np.ndarray, request: _Request, graph: Graph, n_jobs: int) -> np.ndarray:
    import openTSNE

    k = request.neighbours - 1
    known = openTSNE.nearest_neighbors.PrecomputedNeighbors(
        graph.indices[:, :k], np.asarray(graph.distances[:, :k], dtype=np.float64)
    )
    affinities = openTSNE.affinity.PerplexityBasedNN(
        knn_index=known, perplexity=request.settings["perplexity"], n_jobs=n_jobs
    )
    model = openTSNE.TSNE(n_components=request.dimensions, n_jobs=n_jobs, random_state=request.seed)
    return model.fit(affinities=affinities, initialization=_start(features, request, graph))


def _scikit_tsne(features: np.ndarray, request: _Request, graph: Graph, n_jobs: int) -> np.ndarray:
    from scipy import sparse
    from sklearn.manifold import TSNE

    n, k = len(features), request.neighbours
    # scikit-learn expects each point as its own first neighbour, at distance 0
    indices = np.hstack([np.arange(n)[:, None], graph.indices[:, :k]]).ravel()
    distances = np.hstack([np.zeros((n, 1), np.float32), graph.distances[:, :k]]).ravel()
    matrix = sparse.csr_matrix((distances, indices, np.arange(n + 1) * (k + 1)), shape=(n, n))
    model = TSNE(
        request.dimensions,
        perplexity=request.settings["perplexity"],
        metric="precomputed",
        init=_start(features, request, graph).astype(np.float32),
        # scikit-learn's "auto", without its floor of 50: with few points in three dimensions that diverges
        learning_rate=max(n / 48, min(n / 12, 50.0)),
        random_state=request.seed,
        n_jobs=n_jobs,
    )
    return model.fit_transform(matrix)


def _umap(features: np.ndarray, request: _Request, graph: Graph, n_jobs: int) -> np.ndarray:
    n, k = len(features), int(request.settings["neighbours"])
    # UMAP expects each point as its own first neighbour, and exactly as many columns as it uses
    indices = np.hstack([np.arange(n, dtype=np.int32)[:, None], graph.indices[:, : k - 1]])
    distances = np.hstack([np.zeros((n, 1), np.float32), graph.distances[:, : k - 1]])
    with warnings.catch_warnings():
        # harmless here: no TensorFlow, and no search index for new points beside the exact neighbours
        warnings.filterwarnings("ignore", category=ImportWarning)
        warnings.filterwarnings("ignore", message=".*precomputed_knn.*")
        warnings.filterwarnings("ignore", message=".*Spectral initialisation failed.*")
        import umap

        model = umap.UMAP(
            n_neighbors=k,
            n_components=request.dimensions,
            min_dist=request.settings["min_dist"],
            random_state=request.seed,
            n_jobs=1,  # a seed makes UMAP single-threaded; said here, it does not warn
            precomputed_knn=(indices, distances),
        )
        return np.asarray(model.fit_transform(features), dtype=np.float32)


_COMPUTE = {"tsne": _tsne, "umap": _umap, "pca": _pca}
