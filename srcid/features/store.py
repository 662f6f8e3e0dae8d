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

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from srcid.features.checks import (
    Annotations,
    LabelInfo,
    StoreError,
    annotate,
    check_features,
    check_finite,
    check_names,
    check_shape,
    chunks,
    stored,
    stored_dtype,
)
from srcid.features.manifest import FORMAT, VERSION, checksum, flush, read_manifest, sha256


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
                The label named ``event`` is what probes learn.
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
        arrays = {name: np.asanyarray(array) for name, array in features.items()}
        problems = _check_target(Path(path)) + check_features(arrays, evaluation_only)
        shape = next((a.shape for a in arrays.values() if a.ndim >= 2), (0, 0))
        annotations, wrong = annotate(
            list(arrays), shape[0], shape[1], labels=labels, classes=classes, splits=splits, ids=ids,
            masks=masks, media=media, visible_in=visible_in, provenance=provenance,
        )  # fmt: skip
        if problems + wrong:
            raise StoreError(f"cannot make a feature store at {path}:", problems + wrong)
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
                    writer._write(name, array[part])
            return writer._publish(annotations)

    @staticmethod
    def writer(
        path: str | Path,
        shapes: Mapping[str, Sequence[int]],
        steps: int,
        dtypes: Mapping[str, np.dtype] | None = None,
        media_root: str | Path | None = None,
        evaluation_only: bool = False,
    ) -> StoreWriter:
        """Return a writer for data that do not fit in memory, or whose number is not known yet::

            with FeatureStore.writer(path, {"audio": (128,), "video": (7, 7, 512)}, steps=10) as writer:
                for batch in source:              # {modality: [n, T, ...]}, any n
                    writer.append(batch)
                store = writer.finish(labels=..., classes=..., splits=...)

        Raises:
            StoreError: bad names or shapes, or the target exists; nothing has been written then.
        """
        return StoreWriter(Path(path), shapes, steps, dtypes, media_root, evaluation_only)

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


class StoreWriter:
    """Writes a store piece by piece with bounded memory; see :meth:`FeatureStore.writer`."""

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, Sequence[int]],
        steps: int,
        dtypes: Mapping[str, np.dtype] | None,
        media_root: str | Path | None,
        evaluation_only: bool,
    ):
        problems = _check_target(path) + check_names(list(shapes), evaluation_only)
        for name, shape in shapes.items():
            problems += check_shape(name, (1, steps, *shape))
        if problems:
            raise StoreError(f"cannot make a feature store at {path}:", problems)
        self.path, self.steps, self.clips = path, steps, 0
        self._shapes = {name: tuple(int(n) for n in shape) for name, shape in shapes.items()}
        self._dtypes = {name: np.dtype((dtypes or {}).get(name, "<f4")) for name in shapes}
        self._media_root, self._evaluation_only = media_root, evaluation_only
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        self._counts = dict.fromkeys(shapes, 0)
        self._files: dict[str, Any] = {}
        self._published = False

    def __enter__(self) -> StoreWriter:
        (self._partial / "features").mkdir(parents=True)
        for name in self._shapes:
            self._files[name] = (self._partial / f"features/{name}.npy").open("w+b")
            self._header(name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()
        if not self._published:
            shutil.rmtree(self._partial, ignore_errors=True)
            if kind is None:
                raise StoreError(f"nothing was kept at {self.path}:", ["the writer was left without calling finish()"])

    def append(self, batch: Mapping[str, np.ndarray]) -> None:
        """Add clips, ``{modality: [n, T, ...]}``.

        Raises:
            StoreError: missing modalities, other shapes than announced, unequal n, non-finite values.
        """
        arrays = {name: np.asanyarray(array) for name, array in batch.items()}
        problems = []
        if set(arrays) != set(self._shapes):
            problems.append(f"found modalities {sorted(arrays)}, need {sorted(self._shapes)}")
        for name in self._shapes.keys() & arrays.keys():
            need = (self.steps, *self._shapes[name])
            if arrays[name].shape[1:] != need:
                problems.append(f"{name}: found shape {arrays[name].shape}, need [n, {', '.join(map(str, need))}]")
            else:
                problems += check_finite(name, arrays[name], self.clips)
        if len({len(array) for array in arrays.values()}) > 1:
            found = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
            problems.append(f"found unequal numbers of clips ({found})")
        if problems:
            raise StoreError(f"clips from {self.clips} on cannot be added to {self.path}:", problems)
        for name, array in arrays.items():
            self._write(name, array)
        self.clips = next(iter(self._counts.values()))

    def finish(self, **annotations: Any) -> FeatureStore:
        """Check and write labels, classes, splits, ids, masks, media, visible_in and provenance (the
        arguments of :meth:`FeatureStore.create`), and put the store in its place.

        Raises:
            StoreError: with every problem; the target stays absent.
        """
        checked, problems = annotate(list(self._shapes), self.clips, self.steps, **annotations)
        if not self.clips:
            problems.append("found no clips; append some first")
        if problems:
            raise StoreError(f"cannot make a feature store at {self.path}:", problems)
        return self._publish(checked)

    def _header(self, name: str) -> None:
        # numpy pads the header so that the first axis may grow: it is rewritten in place once N is known
        shape = (self._counts[name], self.steps, *self._shapes[name])
        self._files[name].seek(0)
        header = {"descr": self._dtypes[name].str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._files[name], header)

    def _write(self, name: str, array: np.ndarray) -> None:
        # through a buffer, as tofile would bypass the position of the open file
        self._files[name].write(stored(array).astype(self._dtypes[name], copy=False).data)
        self._counts[name] += len(array)

    def _publish(self, annotations: Annotations) -> FeatureStore:
        for name, file in self._files.items():
            self._header(name)
            file.close()
        for name, array in _named_arrays(annotations):
            (self._partial / name).parent.mkdir(exist_ok=True)
            np.save(self._partial / name, array, allow_pickle=False)
        files = {}
        for file in sorted(self._partial.rglob("*.npy")):
            header = np.load(file, mmap_mode="r")
            files[file.relative_to(self._partial).as_posix()] = {
                "shape": list(header.shape),
                "dtype": header.dtype.str,
                "bytes": file.stat().st_size,
                "sha256": sha256(file),
            }
            flush(file)
        clips = next(iter(self._counts.values()))
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "modalities": list(self._shapes),
            "clips": clips,
            "steps": self.steps,
            "evaluation_only": self._evaluation_only,
            "labels": {
                name: {"kind": i.kind, "level": i.level, "classes": i.classes, "visible_in": i.visible_in}
                for name, i in annotations.info.items()
            },
            "splits": list(annotations.splits),
            "masks": list(annotations.masks),
            "media": list(annotations.media),
            "provenance": annotations.provenance,
            "files": files,
        }
        manifest["checksum"] = checksum(manifest)
        manifest["media_root"] = str(Path(self._media_root).resolve()) if self._media_root else None
        file = self._partial / "manifest.json"
        file.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
        flush(file)
        flush(self._partial)
        try:
            self._partial.rename(self.path)
        except OSError as error:
            raise StoreError(
                f"cannot make a feature store at {self.path}:", [f"the folder is taken ({error})"]
            ) from None
        self._published = True
        flush(self.path.parent)
        return FeatureStore.open(self.path, verify=False)


def _named_arrays(annotations: Annotations) -> Iterator[tuple[str, np.ndarray]]:
    for folder in ("labels", "splits", "masks", "media"):
        for name, array in getattr(annotations, folder).items():
            yield f"{folder}/{name}.npy", array
    yield "ids.npy", annotations.ids


def _check_target(path: Path) -> list[str]:
    if os.path.lexists(path):
        return [f"found something at {path}; stores are never overwritten: remove it or choose another path"]
    return []
