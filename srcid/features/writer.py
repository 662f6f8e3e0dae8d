"""`StoreWriter`: how a feature store comes to be, piece by piece and then all at once."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from srcid.features.checks import (
    Annotations,
    StoreError,
    annotate,
    as_arrays,
    check_counts,
    check_finite,
    check_names,
    check_shape,
    check_target,
    check_type,
    stored,
)
from srcid.features.manifest import FORMAT, VERSION, checksum, flush, sha256

Store = TypeVar("Store")


class StoreWriter(Generic[Store]):
    """Writes a store piece by piece with bounded memory; see :meth:`FeatureStore.writer`."""

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, Sequence[int]],
        steps: int,
        dtypes: Mapping[str, np.dtype] | None,
        media_root: str | Path | None,
        evaluation_only: bool,
        opened: Callable[[Path], Store],
    ):
        problems = check_target(path) + check_names(list(shapes), evaluation_only)
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
        self._published, self._opened = False, opened

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
        arrays, problems = as_arrays("features", batch)
        if not problems and set(arrays) != set(self._shapes):
            problems.append(f"found modalities {sorted(map(str, arrays))}, need {sorted(self._shapes)}")
        counts = {}
        for name in [name for name in self._shapes if name in arrays]:
            need = (self.steps, *self._shapes[name])
            if arrays[name].ndim < 1 or arrays[name].shape[1:] != need:
                problems.append(f"{name}: found shape {arrays[name].shape}, need [n, {', '.join(map(str, need))}]")
                continue
            counts[name] = len(arrays[name])
            problems += check_type(name, arrays[name]) or check_finite(name, arrays[name], self.clips)
        problems += check_counts("clips", counts)
        if problems:
            raise StoreError(f"clips from {self.clips} on cannot be added to {self.path}:", problems)
        for name, array in arrays.items():
            self.write(name, array)
        self.clips = next(iter(self._counts.values()))

    def finish(self, **annotations: Any) -> Store:
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
        return self.publish(checked)

    def _header(self, name: str) -> None:
        # numpy pads the header so that the first axis may grow: it is rewritten in place once N is known
        shape = (self._counts[name], self.steps, *self._shapes[name])
        self._files[name].seek(0)
        header = {"descr": self._dtypes[name].str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._files[name], header)

    def write(self, name: str, array: np.ndarray) -> None:
        """Add clips of one modality that have been checked."""
        # through a buffer, as tofile would bypass the position of the open file
        self._files[name].write(stored(array).astype(self._dtypes[name], copy=False).data)
        self._counts[name] += len(array)

    def publish(self, annotations: Annotations) -> Store:
        """Write annotations that have been checked, and put the store in its place."""
        for name, file in self._files.items():
            self._header(name)
            file.close()
        publish(self._partial, self.path, list(self._shapes), annotations, self._media_root, self._evaluation_only)
        self._published = True
        return self._opened(self.path)


def publish(
    partial: Path,
    path: Path,
    modalities: Sequence[str],
    annotations: Annotations,
    media_root: str | Path | None = None,
    evaluation_only: bool = False,
) -> None:
    """Give the folder ``partial``, which holds ``features/<modality>.npy``, all else that makes it a store, and
    rename it to ``path``. May be repeated after it was cut off.

    Raises:
        StoreError: something lies at ``path``.
    """
    for name, array in _named_arrays(annotations):
        (partial / name).parent.mkdir(exist_ok=True)
        np.save(partial / name, array, allow_pickle=False)
    files = {}
    for file in sorted(partial.rglob("*.npy")):
        header = np.load(file, mmap_mode="r")
        files[file.relative_to(partial).as_posix()] = {
            "shape": list(header.shape),
            "dtype": header.dtype.str,
            "bytes": file.stat().st_size,
            "sha256": sha256(file),
        }
        flush(file)
    clips, steps = files[f"features/{modalities[0]}.npy"]["shape"][:2]
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "modalities": list(modalities),
        "clips": clips,
        "steps": steps,
        "evaluation_only": evaluation_only,
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
    manifest["media_root"] = str(Path(media_root).resolve()) if media_root else None
    file = partial / "manifest.json"
    file.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
    flush(file)
    flush(partial)
    try:
        partial.rename(path)
    except OSError as error:
        raise StoreError(f"cannot make a feature store at {path}:", [f"the folder is taken ({error})"]) from None
    flush(path.parent)


def _named_arrays(annotations: Annotations) -> Iterator[tuple[str, np.ndarray]]:
    for folder in ("labels", "splits", "masks", "media"):
        for name, array in getattr(annotations, folder).items():
            yield f"{folder}/{name}.npy", array
    yield "ids.npy", annotations.ids
