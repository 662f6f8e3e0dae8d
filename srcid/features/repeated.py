"""A command that is given again after it made its store: the store keeps, beside its arrays, what was asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from srcid.files import code_version

_NAME = "request.json"


def request_of(source: Path, path: Path, **options: Any) -> str:
    """Hash of what a store at ``path`` is to be made of: code, options, name, size and time of each file of ``source``.

    Files that options name count in the same way; the store itself, its drafts and its audit do not.
    """
    beside, files = os.path.dirname(os.path.abspath(path)), []
    for folder, folders, names in os.walk(source):
        own = os.path.abspath(folder) == beside
        folders[:] = sorted(name for name in folders if not (own and _is_own(name, path.name)))
        files += [os.path.join(folder, name) for name in sorted(names) if not (own and _is_own(name, path.name))]
    named = [str(value).rpartition("=")[2] for value in options.values()]
    about = [os.path.abspath(source), code_version(), sorted((name, str(value)) for name, value in options.items())]
    for file in (*files, *named):
        with contextlib.suppress(OSError, ValueError):
            found = os.stat(file)
            about.append([file, found.st_size, found.st_mtime_ns])
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _is_own(name: str, store: str) -> bool:
    return name == store or name.startswith((f".{store}.", f"{store}.audit."))


def keep_request(folder: Path, request: str) -> None:
    """Put :func:`request_of` into the folder of a store to be."""
    (folder / _NAME).write_text(json.dumps({"request": request}) + "\n", encoding="utf-8")


def answers(path: Path, request: str) -> bool:
    """Whether what lies at ``path`` was made by this very request."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return json.loads((path / _NAME).read_text(encoding="utf-8")) == {"request": request}
    return False
