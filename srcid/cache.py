"""Results kept on disk under the hash of all that they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from srcid.files import whole_file


class Cache:
    """A folder of results, one ``.npz`` file a key; without a folder nothing is kept.

    Files appear whole or not at all, so that two notebooks may share a folder; one that cannot be read is as good as
    missing, and a folder that cannot be written to costs time, not the result. Files hold numbers and text, never
    code: nothing is unpickled.

    Args:
        folder: where results lie, or None.
        facts: what every result of a call depends on beside its own arguments, such as versions; anything JSON can say.

    Example::

        cache = Cache(run.folder / "information", code=checksum_of_sources)
        found = cache(bracket, x, y, settings=settings)  # the second time it is read
    """

    def __init__(self, folder: str | Path | None, **facts: Any) -> None:
        self.folder, self.facts = None if folder is None else Path(folder), facts

    def __call__(self, function: Callable[..., Any], *arrays: np.ndarray | None, **arguments: Any) -> Any:
        """``function(*arrays, **arguments)``, or what it returned before, checked against its return annotation.

        Arguments and results are what pydantic can write as JSON: numbers, text, dataclasses, models, and
        collections of these. Errors are raised and not kept.
        """
        from pydantic import TypeAdapter, ValidationError

        said = TypeAdapter(Any).dump_python(arguments, mode="json")
        name = f"{function.__module__}.{function.__qualname__}"
        key = self.key(*arrays, **self.facts, function=name, arguments=said)
        form = TypeAdapter(get_type_hints(function)["return"])
        with contextlib.suppress(KeyError, TypeError, ValidationError):
            return form.validate_json(str((self.read(key) or {})["result"]))
        found = function(*arrays, **arguments)
        self.write(key, result=json.dumps(form.dump_python(found, mode="json")))
        return found

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
        """Keep arrays, numbers or text under ``key``."""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.folder / f"{key}.npz") as draft, draft.open("wb") as file:
                np.savez(file, **arrays)
