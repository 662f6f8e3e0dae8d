"""Results on disk under the hash of what they depend on, so that a long series of measurements can be resumed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from srcid.cache import Cache


class Keep:
    """A folder of results, one file each; without a folder nothing is kept and everything is computed.

    A result's name hashes the function, its arguments and the source of the estimators: after a change of any it is
    computed anew. What is read back is plain numbers and words, checked against the type that the function returns;
    what is damaged is as good as missing.

    Example::

        keep = Keep(run.folder / "information")
        found = keep(bracket, x, y, settings=settings)  # the second time it is read
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.cache = Cache(folder)

    def __call__(self, function: Callable[..., Any], *arrays: np.ndarray | None, **arguments: Any) -> Any:
        """``function(*arrays, **arguments)``, or what it returned before. Errors are raised and not kept."""
        form = TypeAdapter(get_type_hints(function)["return"])
        facts = {k: v.model_dump() if isinstance(v, BaseModel) else v for k, v in arguments.items()}
        key = Cache.key(*arrays, facts=facts, function=function.__qualname__, code=_code())
        with contextlib.suppress(KeyError, TypeError, ValidationError):
            return form.validate_json((self.cache.read(key) or {})["result"].tobytes())
        found = function(*arrays, **arguments)
        content = json.dumps(form.dump_python(found)).encode()
        with contextlib.suppress(OSError):  # a folder that may not be written to costs time, not the result
            self.cache.write(key, result=np.frombuffer(content, np.uint8))
        return found


@functools.cache
def _code() -> str:
    folder = Path(__file__).parent
    files = (*sorted(folder.glob("*.py")), folder.parent / "model" / "mutual_information.py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
