"""`FeatureStore`: the features, labels and splits of a data set as a folder of memory-mapped arrays.

Layout of the folder (format ``srcid-features``, version 1)::

    manifest.json            format, version, shapes, types, SHA-256 of each file, label meanings, provenance
    features/<modality>.npy  [N,T,F] or [N,T,H,W,F], float32 or float16
    labels/<name>.npy        bool [N,C] or [N,T,C], integer [N] or [N,T], floating [N,d] or [N,T,d]
    labelled/<name>.npy      bool [N] or [N,T], only where a bool label is not known everywhere
    masks/<modality>.npy     bool [N,T], only where steps are padded
    media/<modality>.npy     text [N,T], references such as "wav:a.wav#0.0,0.5"
    splits/<name>.npy        row numbers;  ids.npy  text [N]

A store is written into a hidden sibling folder, flushed to disk, given its manifest last and renamed in one
step: a killed process leaves a ``.NAME.*.partial`` folder, never half a store. Stores are immutable once
made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from srcid.features.annotations import annotate, check_splits
from srcid.features.checks import (
    LabelInfo,
    StoreError,
    as_arrays,
    check_features,
    check_names,
    check_room,
    check_target,
    chunks,
    stored_dtype,
)
from srcid.features.intake import gather, padded, unmasked
from srcid.features.manifest import FileEntry, Manifest, read_manifest
from srcid.features.writer import StoreWriter
from srcid.files import mapped, sha256


class FeatureStore:
    """A data set on disk; make one with :meth:`create` or :meth:`writer`, read one with :meth:`open`.

    Attributes:
        path: the folder.
        modalities: names, in the order of creation.
        shapes: per modality ``(F,)`` or ``(H, W, F)``.
        clips, steps: N and T.
        features: per modality a read-only memory map ``[N, T, ...]``.
        labels, label_info: per label its array and its :class:`LabelInfo`. What is unknown is -1 in integer labels,
            NaN in floating ones, and False in bool ones, where ``labelled`` tells it from background.
        labelled: per bool label that is not known everywhere, where it is: bool ``[N]`` or ``[N, T]``.
        splits: per split its row numbers (int64).
        ids: text ``[N]``.
        masks: per modality bool ``[N, T]``, False where a step is missing or padded.
        media: per modality text ``[N, T]`` of references, see :mod:`srcid.features.media`; only where given.
        media_root: folder that media references with relative paths start from: the one named when the store was
            opened, else the one its maker named if it lies below a folder in the environment variable
            ``SRCID_MEDIA`` (several are separated like paths in ``PATH``), else the store itself.
        provenance: where the data come from; licence and citation where known.
        checksum: SHA-256 over all content; equal data have equal checksums, wherever they lie.
    """

    def __init__(self, path: Path, manifest: Manifest, media_root: str | Path | None = None):
        self.path = path
        self.manifest = manifest
        self.modalities: tuple[str, ...] = tuple(manifest.modalities)
        self.clips: int = manifest.clips
        self.steps: int = manifest.steps
        self.shapes: dict[str, tuple[int, ...]] = {
            m: tuple(manifest.files[f"features/{m}.npy"].shape[2:]) for m in self.modalities
        }
        self.label_info: dict[str, LabelInfo] = {
            name: LabelInfo(name, i.kind, i.level, tuple(i.classes), tuple(i.visible_in))
            for name, i in manifest.labels.items()
        }
        self.provenance: dict[str, Any] = manifest.provenance
        self.checksum: str = manifest.checksum
        self.media_root = _media_root(path, manifest.media_root, media_root)

    @classmethod
    def create(
        cls,
        path: str | Path,
        features: Mapping[str, np.ndarray],
        *,
        masks: Mapping[str, np.ndarray] | None = None,
        media_root: str | Path | None = None,
        evaluation_only: bool = False,
        **annotations: Any,
    ) -> FeatureStore:
        """Write a store from arrays and return it opened. Memory maps are read in pieces.

        Args:
            path: folder to make; must not exist.
            features: per modality ``[N, T, F]`` or ``[N, T, H, W, F]``; float16 stays, the rest becomes
                float32. Steps with a masked value (``numpy.ma``) count as missing. A list or a DataFrame's column
                of one array ``[t, ...]`` a clip is padded to the longest, and masked; a DataFrame counts as its
                columns.
            masks: bool ``[N, T]``, False where a step is missing or padded.
            media_root: folder that relative media references start from; default the store. Not in the
                checksum.
            evaluation_only: allow a single modality.
            annotations: labels, classes, splits, ids, media, visible_in and provenance, as
                :func:`srcid.features.annotations.annotate` describes them.

        Raises:
            StoreError: with every problem of the data; nothing has been written then.
        """
        features, masks, ragged = padded(features, masks)
        names = list(features) if isinstance(features, Mapping) else []
        arrays, problems = as_arrays("features", features)
        arrays, masks = unmasked(arrays, masks)
        problems = ragged or problems
        shape = next((a.shape for a in arrays.values() if a.ndim >= 2), None)
        wrong: list[str] = []
        if shape:  # without any, nothing can be said of the rest
            checked, wrong = annotate(names, shape[0], shape[1], masks=masks, **annotations)
        problems += check_target(Path(path)) + check_names(names, evaluation_only) + wrong
        need = sum(array.size * stored_dtype(array).itemsize for array in arrays.values())
        problems += check_room(Path(path), need) or check_features(arrays)
        StoreError.check(f"cannot make a feature store at {path}:", problems)
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
            return writer.publish(checked)

    @classmethod
    def from_rows(
        cls,
        path: str | Path,
        rows: Iterable[Mapping[str, Any]],
        features: Sequence[str],
        labels: Sequence[str] = (),
        split: str = "split",
        name: str | None = None,
        **others: Any,
    ) -> FeatureStore:
        """Write a store from rows, one dict a clip, as Hugging Face's ``datasets`` and ``DataFrame.to_dict`` give them.

        Args:
            rows: any iterable; all features are in memory at a time (:meth:`writer` is for more).
            features: the keys of the modalities, each one array ``[t, ...]`` a clip, of any length t.
            labels: the keys of labels, one number or text a clip; None or empty text for none.
            split: the key that says the split.
            name: the key of the clip's id.
            others: further arguments of :meth:`create`.

        Raises:
            StoreError: as :meth:`create`, and if a row lacks a key.
        """
        return cls.create(path, **gather(rows, features, labels, split, name), **others)

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
        opened = partial(FeatureStore.open, verify=False, media_root=media_root)
        return StoreWriter(Path(path), shapes, steps, dtypes, media_root, evaluation_only, opened)

    @classmethod
    def open(cls, path: str | Path, verify: bool = True, media_root: str | Path | None = None) -> FeatureStore:
        """Open the store at ``path``; ``verify`` recomputes every SHA-256, otherwise sizes and headers are compared.

        Args:
            media_root: folder that relative media references start from and may not leave. A store may come from
                a stranger, so the folder that it names itself is not taken; see :attr:`media_root`.

        Raises:
            StoreError: no store, an unknown format or version, or files missing, truncated or altered.
        """
        path = Path(path)
        manifest = read_manifest(path)
        problems = []
        for name, entry in manifest.files.items():
            file = path / name
            if not file.resolve().is_relative_to(path.resolve()):
                problems.append(f"{name} lies outside the store")
            elif not file.is_file():
                problems.append(f"{name} is missing")
            elif file.stat().st_size != entry.bytes:
                problems.append(f"{name}: found {file.stat().st_size} bytes, need {entry.bytes}: truncated or altered")
            elif verify and sha256(file) != entry.sha256:
                problems.append(f"{name}: its content does not match its SHA-256: altered since it was written")
            else:
                problems += _check_header(file, name, entry)
        StoreError.check(f"the store at {path} is damaged; make it again from its source:", problems)
        return cls(path, manifest, media_root)

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        return {m: mapped(self.path / f"features/{m}.npy") for m in self.modalities}

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        found = {}
        for name, info in self.label_info.items():
            array = found[name] = self._load(f"labels/{name}.npy")
            if info.kind == "category" and not -1 <= array.min() <= array.max() < len(info.classes):
                self._damaged(
                    f"label {name}: found values {array.min()} to {array.max()}, need -1 (none) to "
                    f"{len(info.classes) - 1}"
                )
            if info.kind == "continuous" and np.isinf(array).any():
                self._damaged(f"label {name} has values that are infinite")
        return found

    @cached_property
    def labelled(self) -> dict[str, np.ndarray]:
        return {name: self._load(f"labelled/{name}.npy") for name in self.manifest.labelled}

    @cached_property
    def splits(self) -> dict[str, np.ndarray]:
        found, problems = check_splits({n: self._load(f"splits/{n}.npy") for n in self.manifest.splits}, self.clips)
        for problem in problems:
            self._damaged(problem)
        for rows in found.values():
            rows.flags.writeable = False
        return found

    @cached_property
    def ids(self) -> np.ndarray:
        return self._load("ids.npy")

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        given = self.manifest.masks
        whole = np.ones((self.clips, self.steps), bool)
        whole.flags.writeable = False
        return {m: self._load(f"masks/{m}.npy") if m in given else whole for m in self.modalities}

    @cached_property
    def media(self) -> dict[str, np.ndarray]:
        return {m: self._load(f"media/{m}.npy") for m in self.manifest.media}

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the features of ``rows`` as ``{modality: float32 [B, T, ...]}``, in their order."""
        rows = np.asarray(rows, np.int64)
        # np.take copies whole clips; asarray drops the memmap class, whose indexing is slower
        return {
            m: np.take(np.asarray(array), rows, axis=0).astype(np.float32, copy=False)
            for m, array in self.features.items()
        }

    def batches(
        self, rows: str | np.ndarray, size: int, seed: int | None = None
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Iterate ``(rows, batch)`` over ``rows`` (or the split of that name); see :func:`batch_rows`."""
        rows = self.splits[rows] if isinstance(rows, str) else rows
        for part in batch_rows(rows, size, seed):
            yield part, self.batch(part)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{m} {'x'.join(map(str, s))}" for m, s in self.shapes.items())
        splits = ", ".join(f"{name} {len(rows)}" for name, rows in self.splits.items())
        return f"FeatureStore({self.path}: {self.clips} clips x {self.steps} steps; {shapes}; {splits})"

    def _load(self, name: str) -> np.ndarray:
        """Return an array whose header fitted; values that its type does not have are refused."""
        array = np.load(self.path / name, allow_pickle=False)
        raw = {"b": np.uint8, "U": np.uint32}.get(array.dtype.kind)
        if raw and array.view(raw).max() > (1 if raw is np.uint8 else 0x10FFFF):
            self._damaged(f"{name} holds bytes that are no {array.dtype}")
        array.flags.writeable = False
        return array

    def _damaged(self, problem: str) -> None:
        raise StoreError(f"the store at {self.path} is damaged; make it again from its source:", [problem])


def _check_header(file: Path, name: str, entry: FileEntry) -> list[str]:
    """Whether an array file is what the manifest says of it."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        return [f"{name}: is no array file ({str(error)[:100]})"]
    if isinstance(array, np.ndarray) and (list(array.shape), array.dtype.str) == (entry.shape, entry.dtype):
        return []
    return [f"{name}: its header does not match the manifest's {entry.dtype} {entry.shape}"]


def _media_root(path: Path, claimed: str | None, given: str | Path | None) -> Path:
    """Return the folder of a store's media: what the user says, never what only the store says."""
    if given is not None:
        return Path(given)
    trusted = [Path(folder).resolve() for folder in os.environ.get("SRCID_MEDIA", "").split(os.pathsep) if folder]
    if claimed and any(Path(claimed).resolve().is_relative_to(folder) for folder in trusted):
        return Path(claimed)
    return path


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
