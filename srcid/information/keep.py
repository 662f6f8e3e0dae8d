"""Results on disk under the hash of what they depend on, so that a long series of measurements can be resumed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srcid.cache import MapCache
from srcid.files import whole_file

# the results that can be kept, by name, and where they live
_TYPES = {
    "Settings": "estimates",
    "Estimate": "estimates",
    "Bracket": "bracket",
    "Calibration": "calibration",
    "Leakage": "leakage",
}
_SOURCES = (
    "calibration", "clips", "conditional", "contrastive", "counts", "bracket", "estimates", "leakage",
    "neighbours",
)  # fmt: skip


class Keep:
    """A folder of results, one JSON file each; without a folder nothing is kept and everything is computed.

    The file's name hashes the function, its arguments and the source of the estimators: after a change of
    either the result is computed anew. Files appear whole or not at all, and two notebooks may share a folder.

    Example::

        keep = Keep(run.folder / "information")
        found = keep(bracket, x, y, settings=settings)  # the second time it is read
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.computed = self.read = 0

    def __call__(self, function: Callable[..., Any], *arrays: np.ndarray | None, **arguments: Any) -> Any:
        """``function(*arrays, **arguments)``, or what it returned before. Errors are raised and not kept."""
        if self.folder is None:
            self.computed += 1
            return function(*arrays, **arguments)
        name = f"{function.__module__}.{function.__qualname__}"
        named = {key: value for key, value in arguments.items() if isinstance(value, np.ndarray)}
        facts = {key: to_json(value) for key, value in arguments.items() if key not in named}
        facts |= {"function": name, "code": _code(), "arrays": [len(arrays), *named]}
        path = self.folder / f"{MapCache.key(*arrays, *named.values(), facts=facts)}.json"
        try:
            found = from_json(json.loads(path.read_text(encoding="utf-8")))
            self.read += 1
            return found
        except (OSError, ValueError, KeyError, TypeError):  # missing, or damaged: as good as missing
            found = function(*arrays, **arguments)
            self.computed += 1
        with contextlib.suppress(OSError):  # a folder that may not be written to costs time, not the result
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as draft:
                draft.write_text(json.dumps(to_json(found)), encoding="utf-8")
        return found


def to_json(value: Any) -> Any:
    """What JSON can say of a result: dataclasses, tuples and arrays become marked objects; exact for floats."""
    if is_dataclass(value) and type(value).__name__ in _TYPES:
        content = {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
        return {"is": type(value).__name__, **content}
    if isinstance(value, np.ndarray):
        return {"is": "array", "dtype": value.dtype.str, "shape": list(value.shape), "values": value.ravel().tolist()}
    if isinstance(value, tuple):
        return {"is": "tuple", "values": [to_json(item) for item in value]}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"found a {type(value).__name__}, which cannot be kept; need results of {', '.join(_TYPES)}")


def from_json(value: Any) -> Any:
    """The result that :func:`to_json` wrote."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("is")
    if kind == "array":
        return np.array(value["values"], dtype=value["dtype"]).reshape(value["shape"])
    if kind == "tuple":
        return tuple(from_json(item) for item in value["values"])
    content = {key: from_json(item) for key, item in value.items() if key != "is"}
    if kind is None:
        return content
    return getattr(importlib.import_module(f"srcid.information.{_TYPES[kind]}"), kind)(**content)


@functools.cache
def _code() -> str:
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for path in (*(folder / f"{name}.py" for name in _SOURCES), folder.parent / "model" / "mutual_information.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()
