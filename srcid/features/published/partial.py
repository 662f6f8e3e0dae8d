"""`Partial`: a store that is being filled row by row, by several processes, and outlives being killed.

Beside the store to be, ``.NAME.convert/`` holds the feature arrays at their full size (sparse: they take room as
they fill) and ``journal.jsonl``, one line for each finished row, written once its features are on the disk. Begun
again for the same rows, it knows what is done; for other rows it starts anew.

Rows that cannot be read leave holes. At the end each hole is filled with the last row there is and the arrays are
cut; every step of that may be repeated.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from srcid.features.checks import Annotations, StoreError
from srcid.features.manifest import flush
from srcid.features.store import FeatureStore
from srcid.features.writer import publish


class Partial:
    """The folder of a conversion under way.

    Attributes:
        done: row -> what was noted of it, for rows that are finished.
        fresh: whether nothing was found to go on with.
        refused: row -> why it could not be read; kept once ``closing``.
        closing: whether all rows were read and the arrays are being cut.
    """

    def __init__(
        self, path: Path, shapes: Mapping[str, Sequence[int]], steps: int, rows: int, dtype: str, fingerprint: str
    ):
        self.path, self.rows = path, rows
        self.folder = path.with_name(f".{path.name}.convert")
        self.shapes = {name: (steps, *shape) for name, shape in shapes.items()}
        self.dtype = np.dtype(dtype)
        self._identity = {"version": 1, "fingerprint": fingerprint, "rows": rows, "modalities": list(shapes)}
        self._lock = FileLock(f"{self.folder}.lock")
        self.done: dict[int, dict[str, Any]] = {}
        self.refused: dict[int, str] = {}
        self.fresh, self.closing = True, False

    def __enter__(self) -> Partial:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"cannot make a feature store at {self.path}:",
                ["another process is converting to it; wait for it, or choose another path"],
            ) from None
        try:
            if not self._resume():
                self._begin()
            self._journal = (self.folder / "journal.jsonl").open("a", encoding="utf-8")
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()
        self._release()

    def file(self, name: str) -> Path:
        return self.folder / "store" / "features" / f"{name}.npy"

    def places(self) -> dict[str, tuple[str, int, int]]:
        """Per modality its file, the byte at which row 0 begins, and the bytes of a row."""
        return {name: (str(self.file(name)), len(self._header(name, 0)), self._bytes(name)) for name in self.shapes}

    def note(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Note finished rows (``row`` and more), after having their features written to the disk."""
        if not records:
            return
        for name in self.shapes:
            flush(self.file(name))
        self._write(records)
        self.done |= {record["row"]: dict(record) for record in records}

    def close_up(self) -> np.ndarray:
        """Cut the arrays to the finished rows; return which row came to lie where, ``[finished]``."""
        if not self.closing:
            self._write([{"closing": True, "refused": list(self.refused.items())}])
            self.closing = True
        good = np.array(sorted(self.done))
        order = np.arange(len(good))
        holes = np.setdiff1d(order, good)
        last = good[good >= len(good)]
        order[holes] = last
        for name in self.shapes:
            file, begin, size = self.places()[name]
            final = begin + len(good) * size
            if os.path.getsize(file) == final:
                continue  # was cut before this process was killed
            with open(file, "r+b") as array:
                for hole, row in zip(holes, last, strict=True):
                    array.seek(begin + int(row) * size)
                    features = array.read(size)
                    array.seek(begin + int(hole) * size)
                    array.write(features)
                array.seek(0)
                array.write(self._header(name, len(good)))
                array.flush()
                os.fsync(array.fileno())
                array.truncate(final)
        return order

    def publish(self, annotations: Annotations, evaluation_only: bool) -> FeatureStore:
        """Make the store of the arrays, and remove what is left."""
        publish(self.folder / "store", self.path, list(self.shapes), annotations, evaluation_only=evaluation_only)
        shutil.rmtree(self.folder)
        return FeatureStore.open(self.path, verify=False)

    def _release(self) -> None:
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def _resume(self) -> bool:
        try:
            identity = json.loads((self.folder / "identity.json").read_text(encoding="utf-8"))
            noted = (self.folder / "journal.jsonl").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return False
        if identity != self._identity or not all(self.file(name).is_file() for name in self.shapes):
            return False
        whole = noted[: noted.rfind("\n") + 1]  # the last line may have been cut off
        if whole != noted:
            with (self.folder / "journal.jsonl").open("r+", encoding="utf-8") as journal:
                journal.truncate(len(whole.encode()))
        for line in whole.splitlines():
            record = json.loads(line)
            if record.get("closing"):
                self.closing, self.refused = True, dict(record["refused"])
            else:
                self.done[record["row"]] = record
        self.fresh = not self.done
        return True

    def _begin(self) -> None:
        need = sum(self.rows * self._bytes(name) for name in self.shapes)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "store" / "features").mkdir(parents=True)
        free = shutil.disk_usage(self.folder).free
        if free < need * 1.02:
            shutil.rmtree(self.folder)
            raise StoreError(
                f"cannot make a feature store at {self.path}:",
                [f"found {free / 1e9:.1f} GB free on the disk, need {need / 1e9:.1f} GB; make room, or use float16"],
            )
        for name in self.shapes:
            with self.file(name).open("wb") as array:
                array.write(self._header(name, self.rows))
                array.truncate(array.tell() + self.rows * self._bytes(name))
        (self.folder / "journal.jsonl").touch()
        identity = self.folder / "identity.json"
        identity.write_text(json.dumps(self._identity), encoding="utf-8")  # last: a folder without it is begun anew

    def _write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._journal.write("".join(json.dumps(record) + "\n" for record in records))
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def _bytes(self, name: str) -> int:
        return int(np.prod(self.shapes[name])) * self.dtype.itemsize

    def _header(self, name: str, rows: int) -> bytes:
        # numpy pads the header so that the first axis may take any length in it
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (rows, *self.shapes[name])}
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, header)
        return stream.getvalue()
