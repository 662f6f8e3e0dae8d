"""Results kept on disk under the hash of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from srcid.files import whole_file


class MapCache:
    """A folder of arrays, one ``.npz`` file a key; without a folder nothing is kept.

    Files appear whole or not at all, so that two notebooks may share a folder; one that cannot be read is
    as good as missing and is written anew.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)

    @staticmethod
    def key(*arrays: np.ndarray | None, **facts: Any) -> str:
        """Hash of arrays (content, type and shape) and of facts (anything JSON can say)."""
        found = hashlib.blake2b(digest_size=16)
        for array in arrays:
            array = np.zeros(0) if array is None else np.ascontiguousarray(array)
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(array.view(np.uint8) if array.dtype != object else "\0".join(map(str, array)).encode())
        found.update(json.dumps(facts, sort_keys=True).encode())
        return found.hexdigest()

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of ``key``, or None."""
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / f"{key}.npz", allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, key: str, **arrays: Any) -> None:
        """Keep arrays under ``key``."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.folder / f"{key}.npz") as draft, draft.open("wb") as file:
            np.savez(file, **arrays)
