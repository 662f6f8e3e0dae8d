"""`FeatureStore`: the features, labels and splits of a data set as a folder of memory-mapped arrays.

Layout of the folder (format ``srcid-features``, version 1)::

    manifest.json            format, version, shapes, types, SHA-256 of each file, label meanings, provenance
    features/<modality>.npy  [N,T,F] or [N,T,H,W,F], float32 or float16
    labels/<name>.npy        bool [N,C] or [N,T,C], integer [N] or [N,T], floating [N,d] or [N,T,d]
    masks/<modality>.npy     bool [N,T], only where steps are padded
    media/<modality>.npy     text [N,T], references such as "wav:a.wav#0.0,0.5"
    splits/<name>.npy        row numbers;  ids.npy  text [N]

A store is written into a hidden sibling folder, flushed to disk, given its manifest last and renamed in one
step: a killed process leaves a ``.NAME.*.partial`` folder, never half a store. Stores are immutable once
made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from srcid.features.checks import (
    LabelInfo,
    StoreError,
    annotate,
    as_arrays,
    check_features,
    check_names,
    check_target,
    chunks,
    stored_dtype,
)
from srcid.features.manifest import read_manifest, sha256
from srcid.features.writer import StoreWriter


class FeatureStore:
    """A data set on disk; make one with :meth:`create` or :meth:`writer`, read one with :meth:`open`.

    Attributes:
        path: the folder.
        modalities: names, in the order of creation.
        shapes: per modality ``(F,)`` or ``(H, W, F)``.
        clips, steps: N and T.
        features: per modality a read-only memory map ``[N, T, ...]``.
        labels, label_info: per label its array and its :class:`LabelInfo`.
        splits: per split its row numbers (int64).
        ids: text ``[N]``.
        masks: per modality bool ``[N, T]``, False where a step is missing or padded.
        media: per modality text ``[N, T]`` of references, see :mod:`srcid.features.media`; only where given.
        media_root: folder that media references with relative paths start from.
        provenance: where the data come from; licence and citation where known.
        checksum: SHA-256 over all content; equal data have equal checksums, wherever they lie.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        self.modalities: tuple[str, ...] = tuple(manifest["modalities"])
        self.clips: int = manifest["clips"]
        self.steps: int = manifest["steps"]
        self.shapes: dict[str, tuple[int, ...]] = {
            m: tuple(manifest["files"][f"features/{m}.npy"]["shape"][2:]) for m in self.modalities
        }
        self.label_info: dict[str, LabelInfo] = {
            name: LabelInfo(name, i["kind"], i["level"], tuple(i["classes"]), tuple(i["visible_in"]))
            for name, i in manifest["labels"].items()
        }
        self.provenance: dict[str, Any] = manifest["provenance"]
        self.checksum: str = manifest["checksum"]
        self.media_root = Path(manifest["media_root"]) if manifest["media_root"] else path

    @classmethod
    def create(
        cls,
        path: str | Path,
        features: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray] | None = None,
        classes: Mapping[str, Sequence[str]] | None = None,
        splits: Mapping[str, np.ndarray] | None = None,
        ids: Sequence[str] | None = None,
        masks: Mapping[str, np.ndarray] | None = None,
        media: Mapping[str, np.ndarray] | None = None,
        visible_in: Mapping[str, Sequence[str]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        media_root: str | Path | None = None,
        evaluation_only: bool = False,
    ) -> FeatureStore:
        """Write a store from arrays and return it opened. Memory maps are read in pieces.

        Args:
            path: folder to make; must not exist.
            features: per modality ``[N, T, F]`` or ``[N, T, H, W, F]``; float16 stays, the rest becomes
                float32.
            labels: bool ``[N,T,C]`` or ``[N,C]`` (several classes may hold; all False = background), integer
                ``[N]`` or ``[N,T]`` (-1 = none), floating ``[N,d]`` or ``[N,T,d]`` (continuous truth).
                The label named ``event`` is what probes learn; it must be bool ``[N,T,C]``.
            classes: class names per label; required for bool labels, numbered for integer ones where missing.
            splits: row numbers per split, disjoint; clips outside every split are allowed.
            ids: one unique name per clip.
            masks: bool ``[N, T]``, False where a step is missing or padded.
            media: text ``[N, T]`` of media references; empty text for none.
            visible_in: modalities that carry a label's factor; default all.
            provenance: JSON-like facts about the origin: source, licence, citation, parameters.
            media_root: folder that relative media references start from; default the store. Not in the
                checksum.
            evaluation_only: allow a single modality.

        Raises:
            StoreError: with every problem of the data; nothing has been written then.
        """
        names = list(features) if isinstance(features, Mapping) else []
        arrays, problems = as_arrays("features", features)
        problems += check_target(Path(path)) + check_names(names, evaluation_only) + check_features(arrays)
        shape = next((a.shape for a in arrays.values() if a.ndim >= 2), None)
        if shape:  # without any, nothing can be said of the rest
            annotations, wrong = annotate(
                names, shape[0], shape[1], labels=labels, classes=classes, splits=splits, ids=ids,
                masks=masks, media=media, visible_in=visible_in, provenance=provenance,
            )  # fmt: skip
            problems += wrong
        if problems:
            raise StoreError(f"cannot make a feature store at {path}:", problems)
        with cls.writer(
            path,
            {name: array.shape[2:] for name, array in arrays.items()},
            shape[1],
            dtypes={name: stored_dtype(array) for name, array in arrays.items()},
            media_root=media_root,
            evaluation_only=evaluation_only,
        ) as writer:
            for name, array in arrays.items():
                for part in chunks(array):
                    writer.write(name, array[part])
            return writer.publish(annotations)

    @staticmethod
    def writer(
        path: str | Path,
        shapes: Mapping[str, Sequence[int]],
        steps: int,
        dtypes: Mapping[str, np.dtype] | None = None,
        media_root: str | Path | None = None,
        evaluation_only: bool = False,
    ) -> StoreWriter[FeatureStore]:
        """Return a writer for data that do not fit in memory, or whose number is not known yet::

            with FeatureStore.writer(path, {"audio": (128,), "video": (7, 7, 512)}, steps=10) as writer:
                for batch in source:              # {modality: [n, T, ...]}, any n
                    writer.append(batch)
                store = writer.finish(labels=..., classes=..., splits=...)

        Raises:
            StoreError: bad names or shapes, or the target exists; nothing has been written then.
        """
        opened = partial(FeatureStore.open, verify=False)
        return StoreWriter(Path(path), shapes, steps, dtypes, media_root, evaluation_only, opened)

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> FeatureStore:
        """Open the store at ``path``; ``verify`` recomputes every SHA-256, otherwise only sizes are compared.

        Raises:
            StoreError: no store, an unknown format or version, or files missing, truncated or altered.
        """
        path = Path(path)
        manifest = read_manifest(path)
        problems = []
        for name, entry in manifest["files"].items():
            file = path / name
            if not file.resolve().is_relative_to(path.resolve()):
                problems.append(f"{name} lies outside the store")
            elif not file.is_file():
                problems.append(f"{name} is missing")
            elif file.stat().st_size != entry["bytes"]:
                problems.append(
                    f"{name}: found {file.stat().st_size} bytes, need {entry['bytes']}: truncated or altered"
                )
            elif verify and sha256(file) != entry["sha256"]:
                problems.append(f"{name}: its content does not match its SHA-256: altered since it was written")
        if problems:
            raise StoreError(f"the store at {path} is damaged; make it again from its source:", problems)
        return cls(path, manifest)

    @cached_property
    def features(self) -> dict[str, np.memmap]:
        return {m: np.load(self.path / f"features/{m}.npy", mmap_mode="r") for m in self.modalities}

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        return {name: self._load(f"labels/{name}.npy") for name in self.label_info}

    @cached_property
    def splits(self) -> dict[str, np.ndarray]:
        return {name: self._load(f"splits/{name}.npy") for name in self.manifest["splits"]}

    @cached_property
    def ids(self) -> np.ndarray:
        return self._load("ids.npy")

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        given = self.manifest["masks"]
        whole = np.ones((self.clips, self.steps), bool)
        whole.flags.writeable = False
        return {m: self._load(f"masks/{m}.npy") if m in given else whole for m in self.modalities}

    @cached_property
    def media(self) -> dict[str, np.ndarray]:
        return {m: self._load(f"media/{m}.npy") for m in self.manifest["media"]}

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the features of ``rows`` as ``{modality: float32 [B, T, ...]}``, in their order."""
        rows = np.asarray(rows, np.int64)
        # np.take copies whole clips; asarray drops the memmap class, whose indexing is slower
        return {
            m: np.take(np.asarray(array), rows, axis=0).astype(np.float32, copy=False)
            for m, array in self.features.items()
        }

    def batches(
        self,
        rows: str | np.ndarray,
        size: int,
        seed: int | None = None,
        drop_last: bool = False,
        epoch: int = 0,
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Iterate ``(rows, batch)`` over ``rows`` (or the split of that name); see :func:`batch_rows`."""
        rows = self.splits[rows] if isinstance(rows, str) else rows
        for part in batch_rows(rows, size, seed, drop_last, epoch):
            yield part, self.batch(part)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{m} {'x'.join(map(str, s))}" for m, s in self.shapes.items())
        splits = ", ".join(f"{name} {len(rows)}" for name, rows in self.splits.items())
        return f"FeatureStore({self.path}: {self.clips} clips x {self.steps} steps; {shapes}; {splits})"

    def _load(self, name: str) -> np.ndarray:
        array = np.load(self.path / name)
        array.flags.writeable = False
        return array


def batch_rows(
    rows: np.ndarray, size: int, seed: int | None = None, drop_last: bool = False, epoch: int = 0
) -> list[np.ndarray]:
    """Cut ``rows`` into batches of ``size``.

    With a seed the rows are shuffled first. The order depends on (seed, epoch) alone, so that a resumed run
    finds its place without any state. Shuffled batches are sorted within, which reads the disk forwards.
    """
    if size < 1:
        raise ValueError(f"found batch size {size}, need 1 or more")
    rows = np.asarray(rows, np.int64)
    if seed is not None:
        rows = np.random.default_rng([seed, epoch]).permutation(rows)
    stop = len(rows) - len(rows) % size if drop_last else len(rows)
    parts = [rows[start : start + size] for start in range(0, stop, size)]
    return parts if seed is None else [np.sort(part) for part in parts]
