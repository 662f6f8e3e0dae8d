"""A command that is given again after it made its store: the store keeps, beside its arrays, what was asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from srcid.files import code_version, read_json

_NAME = "request.json"


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
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def keep_request(folder: Path, request: str) -> None:
    """Put :func:`request_of` into the folder of a store to be."""
    (folder / _NAME).write_text(json.dumps({"request": request}) + "\n", encoding="utf-8")


def answers(path: Path, request: str) -> bool:
    """Whether what lies at ``path`` was made by this very request."""
    with contextlib.suppress(OSError, ValueError):
        return read_json(path / _NAME) == {"request": request}
    return False
