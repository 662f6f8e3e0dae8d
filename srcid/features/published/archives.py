"""Where published features lie: one archive a clip, HDF5 files, tables of sentences. Each is read with suspicion.

A source reads the features of one clip or sentence, ``[t, ...]``, and names the file in every complaint.
"""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from srcid.features.checks import StoreError
from srcid.features.published.unpickle import PickleRefused, load_arrays
from srcid.problems import ProblemsError
from srcid.values import shorten

MAX_ITEM_BYTES = 64 * 2**20
"""A clip's features in one archive; ten seconds of a 7x7x512 grid in float64 take 2 MB."""
MAX_TABLE_BYTES = 512 * 2**20
"""A table of sentences that is loaded whole."""

MOST_FILES = 1_000_000
"""Files below a folder; the largest published data set has about 540,000."""

FOLDERS = {"audio": "audio", "video": "video", "visual": "video", "text": "text", "label": "label", "labels": "label"}
"""What the archives in a folder of this name hold."""
_ARCHIVES = (".zip", ".pkl", ".npy")


class SourceError(ProblemsError):
    """Something in the published files that cannot be used; says which file."""


@dataclass(frozen=True)
class Found:
    """The files below a folder.

    Attributes:
        root: the folder.
        archives: what they hold (:data:`FOLDERS`; "" where no folder says) -> name without ending -> path.
        doubled: files that have the name of another one of the same kind; the other one is used.
        others: all other files.
        files: all of them.
    """

    root: Path
    archives: dict[str, dict[str, str]]
    doubled: list[str]
    others: list[Path]
    files: list[Path]

    @classmethod
    def below(cls, root: str | Path) -> Found:
        """Look through ``root`` and the folders in it, following links.

        Raises:
            SourceError: there is no such folder.
            StoreError: too many files are in it.
        """
        root = Path(root)
        if not os.path.isdir(root):  # False also for names that no folder can have
            raise SourceError(f"found no folder {shorten(str(root), 200)}; need the one that holds the published files")
        archives: dict[str, dict[str, str]] = {}
        doubled, others, files = [], [], list(files_below(root))
        for file in files:
            if file.suffix.lower() not in _ARCHIVES or (file.parent == root and file.suffix.lower() != ".zip"):
                others.append(file)
                continue
            parts = [FOLDERS[p.lower()] for p in file.relative_to(root).parts[:-1] if p.lower() in FOLDERS]
            names = archives.setdefault(parts[-1] if parts else "", {})
            if names.setdefault(file.stem, str(file)) != str(file):
                doubled.append(str(file.relative_to(root)))
        return cls(root, archives, doubled, others, files)

    def one(self, *patterns: str, given: Path | None = None) -> Path | None:
        """Return the file ``given``, or the one whose name fits the first pattern that fits any; None if none does.

        Raises:
            SourceError: the given file is absent, or several fit and none was given.
        """
        if given is not None:
            if not given.is_file():
                raise SourceError(f"found no file {given}")
            return given
        for pattern in patterns:
            fitting = [f for f in self.others if fnmatch(f.name.lower(), pattern.lower())]
            if len(fitting) > 1:
                names = ", ".join(str(f.relative_to(self.root)) for f in fitting)
                raise SourceError(f"found several {pattern}: {names}; keep one below {self.root}")
            if fitting:
                return fitting[0]
        return None

    def need(self, *patterns: str, given: Path | None = None) -> Path:
        """Like :meth:`one`; raise :class:`SourceError` if there is none."""
        file = self.one(*patterns, given=given)
        if file is None:
            raise SourceError(f"found no file {' or '.join(patterns)} below {self.root}; see data/README.md")
        return file


@dataclass(frozen=True)
class Archives:
    """One archive a clip: a zip with one pickle, a bare pickle or a ``.npy``; ``where`` is its path.

    Attributes:
        name: entry to take where the pickle holds several arrays by name.
        alone: whether a pickle that holds one bare array can only mean this entry.
    """

    name: str
    alone: bool = True

    def read(self, where: str) -> np.ndarray:
        held = read_archive(where)
        if isinstance(held, dict):
            if self.name not in held:
                raise SourceError(f"{where}: found entries {', '.join(held) or 'none'}, need '{self.name}'")
            return held[self.name]
        if not self.alone:
            raise SourceError(
                f"{where}: found one array; need a dict with '{self.name}' and others, or one folder for each modality"
            )
        return held

    def name_of(self, where: str) -> str:
        return Path(where).stem


@dataclass(frozen=True)
class Hdf5:
    """One HDF5 file for all clips; ``where`` is the row."""

    file: str
    dataset: str

    def read(self, where: int) -> np.ndarray:
        try:
            return _hdf5(self.file, _stamp(self.file))[self.dataset][where]
        except (OSError, KeyError, ValueError) as error:
            raise SourceError(f"{self.file}: row {where} cannot be read ({error})") from None

    def name_of(self, where: int) -> str:
        return f"{Path(self.file).name}[{where}]"


@dataclass(frozen=True)
class Sentences:
    """Word vectors of sentences in one ``.npz`` or ``.npy``; ``where`` is the row.

    A ``.npz`` holds ``features [n, words, D]``, ``names [n]`` (what each sentence belongs to) and optionally
    ``mask [n, words]`` (which words count) and ``tokens [n, words]`` (the words as text). A ``.npy`` holds the
    features alone, in the order of the list. Without a mask the words whose vector is zero do not count: padding,
    and words that the vocabulary did not know.
    """

    file: str

    def read(self, where: int) -> np.ndarray:
        table = self._table()
        words = np.asarray(table["features"][where])
        return words[self.counting(where)]

    def counting(self, where: int) -> np.ndarray:
        """Return which words of a sentence count, bool ``[words]``."""
        table = self._table()
        if "mask" in table:
            return table["mask"][where].astype(bool)
        return np.asarray(table["features"][where]).any(axis=-1)

    @cached_property
    def names(self) -> list[str] | None:
        """What each sentence belongs to; None for a ``.npy``."""
        names = self._table().get("names")
        return None if names is None else [str(name) for name in names]

    @cached_property
    def count(self) -> int:
        return len(self._table()["features"])

    @property
    def width(self) -> int:
        return self._table()["features"].shape[-1]

    def tokens(self, where: int) -> list[str]:
        """Return the words that count as text; none where the file does not say."""
        tokens = self._table().get("tokens")
        return [] if tokens is None else [str(t) for t in tokens[where][self.counting(where)]]

    def _table(self) -> dict[str, np.ndarray]:
        return _table(self.file, _stamp(self.file))

    def name_of(self, where: int) -> str:
        return self.names[where] if self.names else f"{Path(self.file).name}[{where}]"


Source = Archives | Hdf5 | Sentences


def read_archive(path: str) -> np.ndarray | dict[str, np.ndarray]:
    """Return what one archive holds.

    Raises:
        SourceError: it is damaged, too large, holds other than one pickle of arrays, or would write outside itself.
    """
    return _read_archive(path, _stamp(path))


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of a file: what a cache must know beside its name.

    Raises:
        SourceError: there is no such file, or it is a pipe, a device or a folder, which are never read.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error})") from None
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"{path}: is no regular file")
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=2)  # several modalities may lie in one archive, and captions share an item
def _read_archive(path: str, stamp: tuple[int, int]) -> np.ndarray | dict[str, np.ndarray]:
    try:
        if stamp[0] > MAX_ITEM_BYTES:
            raise SourceError(f"found {stamp[0]} bytes, need at most {MAX_ITEM_BYTES}")
        if path.lower().endswith(".npy"):
            # mapped, so that a header cannot ask for more than is there
            return np.load(path, mmap_mode="r", allow_pickle=False)
        return load_arrays(_unzip(path) if path.lower().endswith(".zip") else _bytes(path))
    except (PickleRefused, SourceError) as error:
        raise SourceError(f"{path}: {error}") from None
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path}: cannot be read ({error})") from None
    except Exception as error:  # zlib, lzma and bz2 have errors of their own
        raise SourceError(f"{path}: is damaged ({type(error).__name__}: {error})") from None


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return _limited(file, MAX_ITEM_BYTES)


def _unzip(path: str) -> bytes:
    """Return the one pickle of an archive, unpacked in memory."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            windows = PureWindowsPath(member.filename)
            if windows.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
                raise SourceError(f"found a member {member.filename!r}, which climbs out of the archive")
        pickles = [m for m in members if PurePosixPath(m.filename).suffix.lower() in (".pkl", ".pickle", ".p")]
        pickles = [m for m in pickles if not m.filename.startswith("__MACOSX/")]
        if len(pickles) != 1:
            raise SourceError(f"found {len(pickles)} pickles among {len(members)} members, need one")
        if pickles[0].file_size > MAX_ITEM_BYTES:
            raise SourceError(f"it unpacks to {pickles[0].file_size} bytes, need at most {MAX_ITEM_BYTES}")
        if pickles[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SourceError(f"it is packed by method {pickles[0].compress_type}, need 0 or 8 (deflate)")
        with archive.open(pickles[0]) as member:
            return _limited(member, pickles[0].file_size)


def _limited(stream: Any, limit: int) -> bytes:
    """Read a stream to its end, which must come within ``limit`` bytes whatever its header declares."""
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise SourceError(f"it holds more than the {limit} bytes that it may")
    return data


def check_hdf5(file: Path, dataset: str, shape: Sequence[int | None], kinds: str = "fiub") -> tuple[list[str], tuple]:
    """Return what is wrong with a dataset of an HDF5 file, and its shape; None in ``shape`` is any length."""
    import h5py

    try:
        with h5py.File(file, "r") as held:
            link = held.get(dataset, getlink=True)
            if not isinstance(link, h5py.HardLink) or not isinstance(held[dataset], h5py.Dataset):
                return [f"{file}: found {', '.join(held) or 'nothing'}, need the dataset '{dataset}' in the file"], ()
            data = held[dataset]
            need = f"[{', '.join('n' if n is None else str(n) for n in shape)}]"
            if len(data.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, data.shape, strict=True)):
                return [f"{file}: found '{dataset}' {list(data.shape)}, need {need}"], ()
            if data.dtype.kind not in kinds:
                return [f"{file}: found values of type {data.dtype}, need numbers"], ()
            if data.external or data.is_virtual:
                return [f"{file}: '{dataset}' keeps its values in other files; need them in this one"], ()
            if None in shape and math.prod(data.shape) * data.dtype.itemsize > MAX_TABLE_BYTES:
                return [f"{file}: found '{dataset}' {list(data.shape)}, which unpacks to too much"], ()
            if data.chunks and np.prod(data.chunks) * data.dtype.itemsize > MAX_TABLE_BYTES:
                return [f"{file}: '{dataset}' is stored in chunks of {data.chunks}, which unpack to too much"], ()
            return [], data.shape
    except (OSError, RuntimeError) as error:
        return [f"{file}: is no HDF5 file that can be read ({error})"], ()


@lru_cache(maxsize=8)
def _hdf5(file: str, stamp: tuple[int, int]) -> Any:
    import h5py

    return h5py.File(file, "r")


def _declared(file: str) -> int:
    """Return how many bytes the arrays of a ``.npz`` take, by headers or by members, whichever says more."""
    declared = 0
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
            declared += max(member.file_size, math.prod(shape) * dtype.itemsize)
    return declared


@lru_cache(maxsize=2)
def _table(file: str, stamp: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the arrays of a table of sentences, checked."""
    try:
        if file.lower().endswith(".npz"):
            declared = _declared(file)
            if declared > MAX_TABLE_BYTES:
                raise SourceError(
                    f"{file}: unpacks to {declared} bytes, need at most {MAX_TABLE_BYTES}; "
                    "save the features alone as .npy, which is read in place"
                )
            with np.load(file, allow_pickle=False) as held:
                table = {name: held[name] for name in held.files}
        else:
            table = {"features": np.load(file, mmap_mode="r", allow_pickle=False)}
    except SourceError:
        raise
    except Exception as error:  # zip, zlib and NumPy have errors of their own
        raise SourceError(f"{file}: cannot be read ({error})") from None
    features = table.get("features")
    if features is None or features.ndim != 3 or features.dtype.kind != "f":
        found = "none" if features is None else f"{features.dtype} {features.shape}"
        raise SourceError(f"{file}: found features {found}, need floating [sentences, words, D]")
    if file.lower().endswith(".npz") and "names" not in table:
        raise SourceError(f"{file}: found {', '.join(table)}, need 'names' beside 'features'")
    for name, shape in {"names": features.shape[:1], "mask": features.shape[:2], "tokens": features.shape[:2]}.items():
        if name in table and table[name].shape != shape:
            raise SourceError(f"{file}: found {name} {table[name].shape}, need {shape}")
    return table


def files_below(root: Path) -> Iterator[Path]:
    """Yield the files below a folder in order of their names, each folder once however often it is linked.

    Links are followed, but not to a folder that ``root`` lies in.

    Raises:
        StoreError: they are more than :data:`MOST_FILES`.
    """
    seen, count = set(Path(os.path.realpath(root)).parents), 0
    for folder, folders, names in os.walk(root, followlinks=True):
        real = Path(os.path.realpath(folder))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        count += len(names)
        if count > MOST_FILES:
            raise StoreError(f"found more than {MOST_FILES:,} files below {root}; name the folder of the data alone")
        yield from (Path(folder, name) for name in sorted(names))
