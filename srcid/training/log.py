"""The log of a run, ``metrics.jsonl``: one JSON object a line, read and cut back however long it has become."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

MOST_BYTES = 8 * 2**20  # of a log that are looked at line by line; of longer ones every n-th line is
_BLOCK = 2**16


def read_log(log: Path, step: int | None = None) -> list[dict[str, Any]]:
    """Return the lines of a log up to ``step``; none where there is no log.

    Damaged lines are passed over: a killed run wrote past its checkpoint, and may have left half a line. Of a log
    beyond :data:`MOST_BYTES` every n-th training and every n-th validation line is returned, and those in which a layer
    opens.
    """
    kept: list[dict[str, Any]] = []
    counts: Counter[bool] = Counter()
    opened = 0
    if not log.is_file():
        return kept
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        every = 1 + os.fstat(file.fileno()).st_size // MOST_BYTES
        for text in file:
            validates = b'"val/' in text
            counts[validates] += 1
            opens = not validates and text.count(b'"opened_by/') > opened
            opened += opens
            if (counts[validates] - 1) % every == 0 or opens:
                line = _line(text)
                if line is not None and (step is None or line["step"] <= step):
                    kept.append(line)
    return kept


def cut_log(log: Path, step: int) -> float:
    """Cut a log back to the lines up to ``step``; return the seconds that the last of them tells.

    It is read from its end, as what lies beyond the last checkpoint is little.
    """
    if not log.exists():
        return 0.0
    size = _BLOCK
    with log.open("r+b") as file:
        end, rest = file.seek(0, os.SEEK_END), b""
        while end > 0:
            start = max(0, end - size)
            file.seek(start)
            block = file.read(end - start) + rest
            first = 0 if start == 0 else block.find(b"\n") + 1  # what comes before belongs to a line begun earlier
            if start and not first:  # a line longer than the block
                end, rest, size = start, block, 2 * size
                continue
            place = start + len(block)
            for text in reversed(block[first:].splitlines(keepends=True)):
                line = _line(text) if text.endswith(b"\n") else None
                if line is not None and line["step"] <= step:
                    file.truncate(place)
                    return float(line.get("seconds") or 0.0)
                place -= len(text)
            end, rest = start, block[:first]
        file.truncate(0)
    return 0.0


def _line(text: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        line = json.loads(text)
        if isinstance(line, dict) and type(line.get("step")) is int:
            return line
    return None
