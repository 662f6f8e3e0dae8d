"""The grid of a sweep: from ``quantizer=vq,rvq2 seed=0..4`` to the parameters of each of its runs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from srcid.params import ParameterError
from srcid.values import Word, shorten

_CLOSING = {"[": "]", "(": ")", "{": "}"}
_FEW = 50
MOST = 1000  # runs of a grid that nobody confirmed


def expand(values: Mapping[str, Any], most: int = MOST) -> list[dict[str, Any]]:
    """Return the parameters of each run of a grid, the last name varying fastest.

    Each name has one value or several: a list, a tuple or a range of them, or text, in which

    - commas separate values, but not within brackets or quotes: ``club_off=[],[1],[1,2]``,
    - ``0..4`` stands for 0, 1, 2, 3, 4,
    - ``rvq3`` as a quantizer stands for ``quantizer=rvq stages=3`` (``rvq-library3``, ``rfsq3`` likewise).

    What comes from text is a :class:`srcid.values.Word`, which the parameter's own type reads.

    >>> expand({"quantizer": "vq,rvq3", "seed": "0..1"})[2]
    {'quantizer': 'rvq', 'stages': '3', 'seed': '0'}

    Args:
        most: largest number of runs.

    Raises:
        ParameterError: text that cannot be read so, ``stages`` given twice, or more runs; all problems at once.
    """
    axes = _axes(values)
    size = math.prod(sum(map(len, axis)) for axis in axes.values())
    if size > most:
        raise ParameterError(
            f"the grid has {size:,} runs; need {most:,} or fewer, or your word that you want that many: "
            f"most={size} (--most {size} on the command line)"
        )
    several = [[unfold(name, value) for part in axis for value in part] for name, axis in axes.items()]
    return [{k: v for given in cells for k, v in given.items()} for cells in itertools.product(*several)]


def corners(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield few runs of a grid that show most of what may be wrong in it: each value once, beside others' first ones.

    Of one name, :data:`_FEW` values at most.
    """
    axes = {name: list(itertools.islice(itertools.chain(*axis), _FEW)) for name, axis in _axes(values).items()}
    first = {k: v for name, several in axes.items() for k, v in unfold(name, several[0]).items()}
    yield first
    for name, several in axes.items():
        yield from (first | unfold(name, value) for value in several[1:])


def unfold(name: str, value: Any) -> dict[str, Any]:
    """The parameters that one value of a name stands for: ``rvq3`` as a quantizer for two of them.

    >>> unfold("quantizer", "rfsq2")
    {'quantizer': 'rfsq', 'stages': '2'}
    """
    fits = name == "quantizer" and isinstance(value, str)
    stages = re.fullmatch(r"(rvq|rvq-library|rfsq)(\d{1,9})", value) if fits else None
    return {"quantizer": Word(stages[1]), "stages": Word(stages[2])} if stages else {name: value}


def _axes(values: Mapping[str, Any]) -> dict[str, list[Sequence[Any]]]:
    """The values of each name, in parts: one value, or a range that nobody has written out."""
    if not isinstance(values, Mapping):
        raise ParameterError(f"found {shorten(values)} for a grid; need a dict of values by name")
    problems: list[str] = []
    axes: dict[str, list[Sequence[Any]]] = {}
    for name, given in values.items():
        several = given if isinstance(given, list | tuple | range) else [given]
        try:
            axes[name] = _read(given) if isinstance(given, str) else [several]
            if not any(map(len, axes[name])):
                problems.append(f"{shorten(name)} has no values")
        except ValueError as error:
            problems.append(f"{name}={shorten(given)}: {error}")
    staged = [value for part in axes.get("quantizer", ()) if isinstance(part, list | tuple) for value in part
              if len(unfold("quantizer", value)) > 1]  # fmt: skip
    if staged and "stages" in values:
        problems.append(f"found stages beside quantizer={staged[0]}; leave stages out, or the number")
    ParameterError.check("the grid cannot be read:", problems)
    return axes


class _Numbers(Sequence[Word]):
    """Whole numbers from one to another as words, however many."""

    def __init__(self, first: int, last: int):
        self.numbers = range(first, last + 1)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        return Word(self.numbers[place])


def _read(text: str) -> list[Sequence[Word]]:
    """The values in a text."""
    values: list[Sequence[Word]] = []
    for part in _split(text):
        bounds = re.fullmatch(r"(-?\d{1,18})\.\.(-?\d{1,18})", part)
        if not part and text:
            raise ValueError("found nothing between two commas, or at an end")
        if bounds and int(bounds[1]) > int(bounds[2]):
            raise ValueError(f"found {part}; need the smaller number first")
        values.append(_Numbers(int(bounds[1]), int(bounds[2])) if bounds else [Word(part)])
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
