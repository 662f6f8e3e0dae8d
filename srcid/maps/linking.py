"""Points of several maps that stand for the same thing: chosen in one map, found in the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Columns = Mapping[str, np.ndarray]
PLACE, CODE, ROW = ("modality", "clip", "step"), ("layer", "stage", "code"), ()


@dataclass(frozen=True)
class Choice:
    """What is chosen.

    Attributes:
        rows: by map, the chosen points.
        size, total: number of things chosen, and of all there are.
        what: "points" (clip, step and modality) or "codes": the things counted.
        counts: by column, ``[(value, chosen, all), ...]``, the most frequent among the chosen first.
    """

    rows: tuple[np.ndarray, ...]
    size: int
    total: int
    what: str
    counts: dict[str, tuple[tuple[str, int, int], ...]]

    @property
    def finding(self) -> str:
        """How much is chosen, of how much."""
        return f"{self.size:,} of {self.total:,} {self.what} ({self.size / max(self.total, 1):.1%}) are marked"

    def frame(self) -> Any:
        """The counts as a DataFrame: column, value, marked, all, and the lift, the share among the marked over all."""
        share = self.size / max(self.total, 1)
        rows = [(c, v, here, every, here / every / share) for c, told in self.counts.items() for v, here, every in told]
        return pd.DataFrame(rows, columns=["column", "value", "marked", "all", "lift"])


class Links:
    """Which points of which map belong together.

    Feature points are the same where clip, step and modality are; code vectors where layer, stage and code are.
    A code belongs to the feature points that have it. Maps of anything else are linked row by row.

    Args:
        columns: of each map, as in :class:`srcid.maps.points.Points`.
    """

    def __init__(self, columns: Sequence[Columns]) -> None:
        self.columns = tuple(columns)
        self.kinds = tuple(next(k for k in (PLACE, CODE, ROW) if set(k) <= set(c)) for c in self.columns)
        self.member: list[np.ndarray] = [np.zeros(0, int)] * len(self.columns)
        self._first: dict[tuple, np.ndarray] = {}  # by kind: a (map, row) that shows each element
        for kind in dict.fromkeys(self.kinds):
            self._identify(kind)
        self._code_of = self._codes_of_places()

    def _identify(self, kind: tuple[str, ...]) -> None:
        """Number the elements of a kind, and say which one each point is."""
        maps = [i for i, own in enumerate(self.kinds) if own == kind]
        sizes = [len(next(iter(self.columns[i].values()))) for i in maps]
        rows = np.concatenate([np.arange(size) for size in sizes])
        keys = [np.concatenate([self.columns[i][name] for i in maps]) for name in kind] or [rows]
        numbers = np.stack([np.unique(key, return_inverse=True)[1] for key in keys], axis=1)
        _, first, inverse = np.unique(numbers, axis=0, return_index=True, return_inverse=True)
        for i, part in zip(maps, np.split(inverse.ravel(), np.cumsum(sizes)[:-1]), strict=True):
            self.member[i] = part
        self._first[kind] = np.stack([np.repeat(maps, sizes)[first], rows[first]], axis=1)

    def _codes_of_places(self) -> dict[int, np.ndarray]:
        """By layer, the code of each place, -1 where no map tells."""
        found: dict[int, np.ndarray] = {}
        for kind, columns, member in zip(self.kinds, self.columns, self.member, strict=True):
            if kind == PLACE and "code" in columns and len(member):
                layer = int(columns["layer"][0])
                codes = found.setdefault(layer, np.full(len(self._first[PLACE]), -1))
                codes[member] = columns["code"]
        return found

    def codes_of(self, view: int) -> dict[str, np.ndarray]:
        """For each point of a map of places, its code in every layer that any map tells, -1 where none does."""
        if self.kinds[view] != PLACE:
            return {}
        return {f"code/{layer}": codes[self.member[view]] for layer, codes in sorted(self._code_of.items())}

    def choose(self, view: int, rows: np.ndarray) -> Choice:
        """Choose points of one map; everything that belongs to them is chosen as well."""
        rows = np.unique(np.asarray(rows, dtype=int))
        chosen = {kind: np.zeros(len(first), bool) for kind, first in self._first.items()}
        chosen[self.kinds[view]][self.member[view][rows]] = True
        if self.kinds[view] == CODE and PLACE in chosen:
            chosen[PLACE] = self._with_codes(chosen[CODE])
        if PLACE in chosen and CODE in chosen:
            chosen[CODE] |= self._codes_at(chosen[PLACE])
        found = [np.flatnonzero(chosen[kind][member]) for kind, member in zip(self.kinds, self.member, strict=True)]
        found[view] = rows
        return self._count(chosen, tuple(found))

    def with_value(self, column: str, value: str) -> Choice:
        """Choose all points that have ``value`` (as text) in ``column``, in the first map that has the column."""
        view = next(i for i, columns in enumerate(self.columns) if column in columns)
        return self.choose(view, np.flatnonzero(self.columns[view][column].astype(str) == value))

    def _with_codes(self, codes: np.ndarray) -> np.ndarray:
        places = np.zeros(len(self._first[PLACE]), bool)
        symbol, layer = self._of(CODE, "symbol"), self._of(CODE, "layer")
        for k, of_place in self._code_of.items():
            places |= np.isin(of_place, symbol[codes & (layer == k) & (symbol >= 0)])
        return places

    def _codes_at(self, places: np.ndarray) -> np.ndarray:
        symbol, layer = self._of(CODE, "symbol"), self._of(CODE, "layer")
        found = np.zeros(len(symbol), bool)
        for k, of_place in self._code_of.items():
            found |= (layer == k) & (symbol >= 0) & np.isin(symbol, of_place[places])
        return found

    def _of(self, kind: tuple[str, ...], column: str) -> np.ndarray:
        """A column for the elements of a kind."""
        view, row = self._first[kind].T
        parts = {i: self.columns[i][column] for i in np.unique(view)}
        found = np.empty(len(view), np.result_type(*(values.dtype for values in parts.values())))
        for i, values in parts.items():
            found[view == i] = values[row[view == i]]
        return found

    def _count(self, chosen: dict[tuple, np.ndarray], rows: tuple[np.ndarray, ...]) -> Choice:
        kind = PLACE if PLACE in chosen else self.kinds[0]
        mask = chosen[kind]
        counts = {}
        shared = [c for own, c in zip(self.kinds, self.columns, strict=True) if own == kind]
        for name in ("modality", "label"):
            if all(name in columns for columns in shared):
                counts[name] = _tally(self._of(kind, name).astype(str), mask)
        if kind == PLACE:
            for layer, codes in self._code_of.items():
                counts[f"code of layer {layer}"] = _tally(codes, mask & (codes >= 0), codes >= 0)
        return Choice(rows, int(mask.sum()), len(mask), "codes" if kind == CODE else "points", counts)


def _tally(values: np.ndarray, mask: np.ndarray, among: np.ndarray | None = None) -> tuple[tuple[str, int, int], ...]:
    """(value, number where ``mask`` holds, number ``among`` all) of each value, the most frequent first."""
    names, inverse = np.unique(values, return_inverse=True)
    here = np.bincount(inverse[mask], minlength=len(names))
    every = np.bincount(inverse if among is None else inverse[among], minlength=len(names))
    order = np.argsort(-here, kind="stable")
    return tuple((str(names[i]), int(here[i]), int(every[i])) for i in order if here[i])
