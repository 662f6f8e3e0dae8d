"""Files that are there whole or not at all, and that can be told from damaged ones; which code wrote them."""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import secrets
import shutil
import stat
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from srcid.problems import PlainError
from srcid.values import shorten

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
LARGEST_JSON = 256 * 2**20  # bytes
_SMALL = 2**20  # bytes of an array that is read rather than mapped
_mapped: weakref.WeakValueDictionary[tuple[str, int, int, int], np.ndarray] = weakref.WeakValueDictionary()
_SEAL = "sha256 of the rest"  # no name of a parameter or a score
_looked: dict[str, float] = {}  # folder -> when its drafts were last looked at, in seconds of a clock that only rises
_PAUSE = 60.0
_BLOCK, _BLOCKS = 4096, 64  # bytes and number of the blocks that a sample of a file consists of


class DiskError(PlainError, OSError):
    """A disk that is full or cannot be written; the message says where, what is needed and what is free."""

    def __str__(self) -> str:
        return str(self.args[-1])  # an OSError would put its number before it


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the path of a draft to write, which then takes the place of ``path``.

    Whoever reads meanwhile, or after a crash, finds the old file or the new one, never a part. After an error the
    draft is gone and ``path`` is as it was. Several processes may write at once; the last one stays. What killed
    processes left of their drafts goes.

    Raises:
        DiskError: the disk is full or cannot be written.
    """
    draft = draft_of(path)
    with disk_errors(path.parent, shown={str(draft): path}):
        try:
            draft.touch()
            mode = draft.stat().st_mode
            yield draft
            draft.chmod(mode)  # as the umask has it; safetensors makes files for their owner alone
            flush(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    remove_orphans(path.parent)


def flush(path: Path) -> None:
    """Have a file or folder written to the disk itself, not only to the system's cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there yet.

    Raises:
        DiskError: it cannot be made.
    """
    try:
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # as below /proc
        raise DiskError(
            error.errno, f"{shorten(str(path), 200)} cannot be made; need a place that you may write to"
        ) from None


def draft_of(path: Path) -> Path:
    """A name beside ``path`` for what is to take its place, which tells the process that writes it from others."""
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}")


def remove_orphans(folder: Path) -> None:
    """Remove the drafts in ``folder`` (:func:`draft_of`) whose process on this machine has ended.

    A folder is looked through once a minute at most, as it may hold many files that are written one by one.
    """
    import psutil

    key, now = os.path.abspath(folder), time.monotonic()
    if now < _looked.get(key, -math.inf) + _PAUSE:
        return
    _looked[key] = now
    ours = re.compile(rf"\..+\.{_machine()}-(\d+)-[0-9a-f]{{8}}")
    with os.scandir(folder) as entries:
        found = [(Path(entry.path), ours.fullmatch(entry.name)) for entry in entries if entry.name.startswith(".")]
    for draft, named in found:
        if named and not psutil.pid_exists(int(named[1])):
            shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink(missing_ok=True)


@functools.cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def read_json(path: Path) -> Any:
    """Return what a JSON file says, if it is a file: a pipe would keep its reader waiting, a device has no end.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, larger than :data:`LARGEST_JSON`, or not JSON.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no regular file")
    if about.st_size > LARGEST_JSON:
        raise ValueError(f"it has {about.st_size:,} bytes, need {LARGEST_JSON:,} or fewer")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("its lists or objects nest too deep") from None


def write_json(path: Path, content: Any) -> None:
    """Write what :func:`read_json` reads, whole or not at all.

    Raises:
        DiskError: the disk is full or cannot be written.
    """
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def digest(content: Any) -> str:
    """SHA-256 in hex of what is said in JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object for a JSON file together with its checksum, so that damage to it can be told."""
    content = json.loads(json.dumps(content))  # as it will be read
    return content | {_SEAL: digest(content)}


def unsealed(content: Any, without: bool = True) -> Any:
    """Return an object as :func:`sealed` took it.

    Args:
        without: whether it may lack its checksum, as those of earlier versions do.

    Raises:
        ValueError: its checksum is absent or differs.
    """
    seal = content.pop(_SEAL, None) if isinstance(content, dict) else None
    if seal is None and without:
        return content
    if seal != digest(content):
        raise ValueError("its checksum differs: altered since it was written")
    return content


@contextmanager
def disk_errors(folder: Path, need: int = 0, shown: Mapping[str, Path] | None = None) -> Iterator[None]:
    """Say in one sentence what keeps the code inside from writing to ``folder``.

    Args:
        need: bytes that are about to be written, where known.
        shown: what to call files whose names tell nobody anything.

    Raises:
        DiskError: the disk is full or cannot be written.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        # safetensors tells of the system's errors in words only
        said = re.search(r"os error (\d+)", str(error))
        number = error.errno if isinstance(error, OSError) else int(said[1]) if said else None
        if number in FULL:
            there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
            free = f"{shutil.disk_usage(there).free / 1e6:,.1f} MB are free"
            wanted = f"{need / 1e6:,.1f} MB are needed" if need else "more is needed"
            text = f"no space left in {folder}: {free}, {wanted}; free some space, then run the same command again"
        elif number in REFUSED:
            place = str(getattr(error, "filename", None) or folder)
            place = shorten(str((shown or {}).get(place, place)), 200).strip("'")
            text = f"{place} cannot be written ({os.strerror(number)}); need a place that you may write to"
        else:
            raise
        raise DiskError(number, text) from None


def reserved_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Make a ``.npy`` file for an array of zeros and return it mapped into memory, for writing.

    Its space is reserved first, where the system can do that: on a full disk a mapped file without space of its own
    ends the process with SIGBUS.

    Raises:
        DiskError: the disk is full or cannot be written.
    """
    need = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    with disk_errors(path.parent, need):
        with path.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            if need and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), file.tell(), need)
            else:
                file.truncate(file.tell() + need)
        return np.load(path, mmap_mode="r+")


def mapped(path: Path) -> np.ndarray:
    """Return the array of a ``.npy`` file for reading: mapped into memory, or read where it is small.

    A mapped array keeps its file open as long as anybody has it, as a figure of a notebook may; so all share one.

    Raises:
        OSError, ValueError, EOFError: it cannot be read.
    """
    about = path.stat()
    key = (os.path.abspath(path), about.st_ino, about.st_size, about.st_mtime_ns)
    found = _mapped.get(key)
    if found is None:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if about.st_size <= _SMALL:
            found = np.array(found)
            found.flags.writeable = False
        else:
            _mapped[key] = found
    return found


def fingerprints(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size, hash of a sample and hash of the whole of each file in ``folder``, by name."""
    return {
        path.name: {"bytes": path.stat().st_size, "sample": _sample(path), "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
    }


def differences(folder: Path, expected: Mapping[str, Mapping[str, Any]], whole: bool = False) -> list[str]:
    """Return a sentence for each file in ``folder`` that is not as :func:`fingerprints` found it.

    Args:
        whole: read every byte; else sizes and samples, which takes milliseconds.
    """
    problems = []
    for name, about in expected.items():
        path = folder / name
        try:
            if not path.is_file():
                problems.append(f"{name} is no file")
            elif path.stat().st_size != about["bytes"]:
                problems.append(f"{name} has {path.stat().st_size:,} bytes, need {about['bytes']:,}")
            elif _sample(path) != about["sample"] or (whole and sha256(path) != about["sha256"]):
                problems.append(f"the checksum of {name} differs")
        except OSError as error:
            problems.append(f"{name} cannot be read ({error.strerror})")
    return problems


def sha256(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing_hash(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 in hex over names and sizes of files below ``folder``, which tells them from others without reading."""
    sizes = ((file, file.stat().st_size if file.exists() else "gone") for file in files)
    listing = "\n".join(f"{file.relative_to(folder).as_posix()} {size}" for file, size in sizes)
    return hashlib.sha256(listing.encode()).hexdigest()


def _sample(path: Path) -> str:
    """Hash of up to 64 blocks of a file, evenly spread from its first to its last byte: all of a small file."""
    size, digest = path.stat().st_size, hashlib.sha256()
    last = max(0, size - _BLOCK)
    places = range(0, size, _BLOCK) if size <= _BLOCK * _BLOCKS else [last * i // (_BLOCKS - 1) for i in range(_BLOCKS)]
    with path.open("rb") as file:
        for place in places:
            file.seek(place)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


@functools.cache
def code_version() -> str:
    """Package version and a hash of the package's sources, e.g. ``0.1.0+3f29c0a1b2d4``."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return f"{importlib.metadata.version('srcid')}+{digest.hexdigest()[:12]}"
