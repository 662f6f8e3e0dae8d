"""`StoreWriter`: how a feature store comes to be, piece by piece and then all at once.

A command that makes a store keeps beside the arrays what was asked (:func:`keep_request`); given again, it has nothing
to do (:func:`answers`).
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from srcid.features.annotations import Annotations, annotate
from srcid.features.checks import (
    StoreError,
    as_arrays,
    check_counts,
    check_finite,
    check_names,
    check_shape,
    check_target,
    check_type,
    stored,
)
from srcid.features.manifest import FORMAT, MAX_MANIFEST_BYTES, VERSION, checked, checksum
from srcid.files import code_version, digest, flush, read_json, sha256, write_json
from srcid.values import shorten

Store = TypeVar("Store")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_REQUEST = "request.json"


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
        self._heading = f"cannot make a feature store at {path}:"
        problems = check_target(path) + check_names(list(shapes), evaluation_only)
        if media_root is not None and (not isinstance(media_root, str | os.PathLike) or "\0" in str(media_root)):
            problems.append(f"media_root: found {shorten(media_root)}, need a folder")
        for name, shape in shapes.items():
            problems += check_shape(name, (1, steps, *shape))
        StoreError.check(self._heading, problems)
        self.path, self.steps = path, steps
        self._shapes = {name: tuple(int(n) for n in shape) for name, shape in shapes.items()}
        self._dtypes = {name: np.dtype((dtypes or {}).get(name, "<f4")) for name in shapes}
        self._media_root, self._evaluation_only = media_root, evaluation_only
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        self._lock = FileLock(self._partial.with_suffix(".lock"))
        self._counts = dict.fromkeys(shapes, 0)
        self._files: dict[str, Any] = {}
        self._closed, self._opened = False, opened

    def __enter__(self) -> StoreWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_orphans(self.path)
            self._lock.acquire()
            (self._partial / "features").mkdir(parents=True)
            for name in self._shapes:
                self._files[name] = (self._partial / f"features/{name}.npy").open("w+b")
                self._header(name)
        except OSError as error:
            self._close()
            shutil.rmtree(self._partial, ignore_errors=True)
            _release(self._lock)
            raise StoreError(self._heading, [f"cannot write there ({error})"]) from None
        return self

    def _close(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # closing writes what is left, and a full disk refuses that too
                file.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._close()
        if not self._closed:
            shutil.rmtree(self._partial, ignore_errors=True)
        _release(self._lock)
        if isinstance(error, OSError) and error.errno in _FULL:
            free = shutil.disk_usage(self.path.parent).free
            why = f"{os.strerror(error.errno)}: found {free / 1e6:.0f} MB free at {self.path.parent}; make room there"
            raise StoreError(f"nothing was kept at {self.path}:", [why]) from None
        if not self._closed and kind is None:
            raise StoreError(f"nothing was kept at {self.path}:", ["the writer was left without calling finish()"])

    @property
    def clips(self) -> int:
        """Clips written so far."""
        return next(iter(self._counts.values()))

    @property
    def folder(self) -> Path:
        """The store to be: what is put here lies in the store, beside its arrays and under no checksum."""
        return self._partial

    def discard(self) -> None:
        """Leave nothing behind, and say so by this call rather than by an error."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._closed = True

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
            if np.ma.is_masked(arrays[name]):
                problems.append(f"{name}: found masked values; fill them, and give the steps to finish(masks=...)")
            need = (self.steps, *self._shapes[name])
            if arrays[name].ndim < 1 or arrays[name].shape[1:] != need:
                problems.append(f"{name}: found shape {arrays[name].shape}, need [n, {', '.join(map(str, need))}]")
                continue
            counts[name] = len(arrays[name])
            problems += check_type(name, arrays[name]) or check_finite(name, arrays[name], self.clips)
        problems += check_counts("clips", counts)
        StoreError.check(f"clips from {self.clips} on cannot be added to {self.path}:", problems)
        for name, array in arrays.items():
            self.write(name, array)

    def finish(self, **annotations: Any) -> Store:
        """Check and write all that is no feature (:func:`srcid.features.annotations.annotate`), and put the store in
        its place.

        Raises:
            StoreError: with every problem; the target stays absent.
        """
        checked, problems = annotate(list(self._shapes), self.clips, self.steps, **annotations)
        if not self.clips:
            problems.append("found no clips; append some first")
        StoreError.check(self._heading, problems)
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
        groups = {what: getattr(annotations, what) for what in ("labels", "labelled", "splits", "masks", "media")}
        arrays = {f"{what}/{name}.npy": array for what, group in groups.items() for name, array in group.items()}
        for name, array in (arrays | {"ids.npy": annotations.ids}).items():
            (self._partial / name).parent.mkdir(exist_ok=True)
            np.save(self._partial / name, array, allow_pickle=False)
        file = self._partial / "manifest.json"
        text = json.dumps(self._manifest(annotations), indent=1, ensure_ascii=False).encode()
        if len(text) > MAX_MANIFEST_BYTES:  # it could never be opened
            need = f"at most {MAX_MANIFEST_BYTES:,}"
            raise StoreError(self._heading, [f"provenance and names of classes take {len(text):,} bytes, need {need}"])
        checked(json.loads(text), self._heading)
        file.write_bytes(text)
        flush(file)
        flush(self._partial)
        try:
            self._partial.rename(self.path)
        except OSError as error:
            raise StoreError(self._heading, [f"the folder is taken ({error})"]) from None
        flush(self.path.parent)
        self._closed = True
        return self._opened(self.path)

    def _manifest(self, annotations: Annotations) -> dict[str, Any]:
        """What the store says of itself; every array is flushed to the disk on the way."""
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
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "modalities": list(self._shapes),
            "clips": self.clips,
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
        if annotations.labelled:  # or the checksum of stores without would change
            manifest["labelled"] = list(annotations.labelled)
        manifest["checksum"] = checksum(manifest)
        manifest["media_root"] = str(Path(self._media_root).resolve()) if self._media_root else None
        return manifest


def _remove_orphans(path: Path) -> None:
    """Delete what killed writers of the store at ``path`` left: drafts whose lock nobody holds."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        lock = FileLock(draft.with_suffix(".lock"), timeout=0)
        with contextlib.suppress(Timeout), lock:
            shutil.rmtree(draft, ignore_errors=True)
            _release(lock)


def _release(lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # where nothing may be written there is none
        Path(lock.lock_file).unlink(missing_ok=True)  # before it is released: nobody else has it then
    lock.release()


def request_of(files: Iterable[Path], path: Path, **options: Any) -> str:
    """Hash of what a store at ``path`` is to be made of: code, options, and name, size and time of each of ``files``.

    Files that options name count in the same way; the store itself, drafts of it and its audit do not.
    """
    folder, name = (re.escape(part) for part in os.path.split(os.path.abspath(path)))
    own = re.compile(rf"{folder}[/\\]({name}($|[/\\]|\.audit\.(json|txt)$)|\.{name}\.[0-9a-f]+\.(partial|lock))")
    sources = [file for file in map(str, files) if not own.match(os.path.abspath(file))]
    named = [str(value).rpartition("=")[2] for value in options.values()]
    about: list[Any] = [code_version(), sorted((name, str(value)) for name, value in options.items())]
    for file in (*sources, *named):
        with contextlib.suppress(OSError, ValueError):
            found = os.stat(file)
            about += [[file, found.st_size, found.st_mtime_ns]] if stat.S_ISREG(found.st_mode) else []
    return digest(about)


def keep_request(folder: Path, request: str) -> None:
    """Put :func:`request_of` into the folder of a store to be."""
    write_json(folder / _REQUEST, {"request": request})


def may_answer(path: Path) -> bool:
    """Whether something lies at ``path`` that says by which request it was made."""
    return os.path.exists(path / _REQUEST)


def answers(path: Path, request: str) -> bool:
    """Whether what lies at ``path`` was made by this very request."""
    with contextlib.suppress(OSError, ValueError):
        return read_json(path / _REQUEST) == {"request": request}
    return False
