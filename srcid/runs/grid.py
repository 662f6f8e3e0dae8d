"""The grid of a sweep: from ``quantizer=vq,rvq2 seed=0..4`` to the parameters of each of its runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from srcid.params import ParameterError

_CLOSING = {"[": "]", "(": ")", "{": "}"}


def expand(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters of each run of a grid, the last name varying fastest.

    Each name has one value or several: a list, a tuple or a range of them, or text, in which

    - commas separate values, but not within brackets or quotes: ``club_off=[],[1],[1,2]``,
    - ``0..4`` stands for 0, 1, 2, 3, 4,
    - ``rvq3`` as a quantizer stands for ``quantizer=rvq stages=3`` (``rvq-library3``, ``rfsq3`` likewise).

    >>> expand({"quantizer": "vq,rvq3", "seed": "0..1"})[2]
    {'quantizer': 'rvq', 'stages': '3', 'seed': '0'}

    Raises:
        ParameterError: text that cannot be read so, or ``stages`` given twice; all problems at once.
    """
    problems: list[str] = []
    axes = []
    for name, given in values.items():
        several = given if isinstance(given, list | tuple | range) else [given]
        try:
            several = _read(given) if isinstance(given, str) else list(several)
        except ValueError as error:
            problems.append(f"{name}={given!r}: {error}")
        if not several:
            problems.append(f"{name} has no values")
        axes.append([_cell(name, value) for value in several])
    staged = [cell["quantizer"] + cell["stages"] for axis in axes for cell in axis if len(cell) > 1]
    if staged and "stages" in values:
        problems.append(f"found stages beside quantizer={staged[0]}; leave stages out, or the number")
    if problems:
        raise ParameterError("the grid cannot be read:", problems)
    return [{k: v for cell in cells for k, v in cell.items()} for cells in itertools.product(*axes)]


def _cell(name: str, value: Any) -> dict[str, Any]:
    stages = re.fullmatch(r"(rvq|rvq-library|rfsq)(\d+)", value) if name == "quantizer" and type(value) is str else None
    return {"quantizer": stages[1], "stages": stages[2]} if stages else {name: value}


def _read(text: str) -> list[str]:
    """The values in a text."""
    values: list[str] = []
    for part in _split(text):
        bounds = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", part)
        if not part and text:
            raise ValueError("found nothing between two commas, or at an end")
        if bounds and int(bounds[1]) > int(bounds[2]):
            raise ValueError(f"found {part}; need the smaller number first")
        values += map(str, range(int(bounds[1]), int(bounds[2]) + 1)) if bounds else [part]
    return values


def _split(text: str) -> list[str]:
    """The parts between the commas that no brackets or quotes enclose."""
    parts, awaited, quote = [""], "", ""
    for letter in text:
        if quote or letter in "\"'":
            quote = "" if letter == quote else quote or letter
        elif letter in _CLOSING:
            awaited = _CLOSING[letter] + awaited
        elif letter in _CLOSING.values():
            if not awaited.startswith(letter):
                raise ValueError(f"found '{letter}' that closes nothing")
            awaited = awaited[1:]
        elif letter == "," and not awaited:
            parts.append("")
            continue
        parts[-1] += letter
    if awaited or quote:
        raise ValueError(f"found no closing {awaited[:1] or quote}")
    return [part.strip() for part in parts]
