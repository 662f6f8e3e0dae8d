"""Two codebooks on the same clips: which code of one is which of the other, and which changed their meaning.

They may be of two runs, or of two epochs of one (:mod:`srcid.epochs`). Numbers of codes mean nothing across trainings,
and within one a code may be revived with another meaning. Codes are matched one to one so that as many steps as
possible have matched codes (assignment on co-occurrence, Kuhn 1955). A matching chosen on the clips that it is judged
by looks too good: the matched share comes from clips that took no part in choosing, each half of them judged by the
other's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from srcid.codebook.meaning import Association, association
from srcid.statistics import Interval, contingency, share_interval
from srcid.symbols import InspectionError, Symbols, place_name, symbols_of

_SHUFFLES = 5  # of the clips of the second table, for the share by chance


@dataclass(frozen=True)
class Match:
    """A code of the first table and its partner in the second.

    Attributes:
        together: steps at which they meet, over all modalities.
        of_first, of_second: shares of the steps with either code.
        classes: the class most frequent with each code; empty without a label.
        purity: its share of the code's steps, with 95 % Wilson intervals that count clips.
    """

    first: int
    second: int
    together: int
    of_first: float
    of_second: float
    classes: tuple[str, str] = ("", "")
    purity: tuple[Interval, Interval] | None = None

    @property
    def changed(self) -> bool:
        """Whether both codes have a majority class (the interval's low end is above a half), and not the same."""
        return self.purity is not None and self.classes[0] != self.classes[1] and min(p.low for p in self.purity) > 0.5


@dataclass(frozen=True)
class Matching:
    """Codes of one layer of two tables, matched.

    Attributes:
        names: of the tables.
        matches: pairs of codes that meet more often than chance makes them, the most frequent first.
        unmatched: codes in use without such a partner, of the first and of the second table.
        codes: codes in use, of both.
        share: of the steps with matched codes, judged on clips that took no part in matching; interval over clips.
        chance: the same share if clips of the second table are shuffled.
        counts: how often the k-th code of the first meets the k-th of the second, ``[A, B]``, in the order
            ``order``: matched ones first.
        label: whose classes were compared, or empty.
    """

    layer: int
    sample: str
    names: tuple[str, str]
    matches: tuple[Match, ...]
    unmatched: tuple[tuple[int, ...], tuple[int, ...]]
    codes: tuple[int, int]
    share: Interval
    chance: float
    counts: np.ndarray
    order: tuple[np.ndarray, np.ndarray]
    label: str
    notes: tuple[str, ...]
    params: dict[str, Any]

    @property
    def partners(self) -> dict[int, int]:
        """Of each matched code of the second table, its code in the first."""
        return {match.second: match.first for match in self.matches}

    def frame(self) -> pd.DataFrame:
        """One row a pair, those whose class changed first."""
        first, second = self.names
        rows = [
            {
                first: m.first, second: m.second, "together": m.together, f"of {first}": m.of_first,
                f"of {second}": m.of_second, f"class in {first}": m.classes[0], f"class in {second}": m.classes[1],
                "changed": m.changed,
            }
            for m in sorted(self.matches, key=lambda m: not m.changed)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def summary(self) -> str:
        """Matched share beside chance, codes without a partner, and codes that changed their class."""
        lost = " and ".join(f"{len(codes)} of {used}" for codes, used in zip(self.unmatched, self.codes, strict=True))
        ends = f" [{100 * self.share.low:.0f}, {100 * self.share.high:.0f}]" if self.share.known else ""
        said = (
            f"{place_name(self.layer)} ({self.sample}): matched codes at {100 * self.share.value:.0f} %{ends} of steps "
            f"(chance {100 * self.chance:.0f} %), {lost} codes without a partner"
        )
        if not self.label:
            return said
        changed = sum(m.changed for m in self.matches)
        return f"{said}, {changed} of {len(self.matches)} pairs with another majority class ('{self.label}')"

    @property
    def finding(self) -> str:
        """Both names and the summary."""
        return f"{' and '.join(self.names)}, {self.summary}"


def check_same_clips(tables: Mapping[str, Any]) -> None:
    """Raise unless all tables are of one store, so that a row is the same clip in each."""
    if not tables:
        raise InspectionError("found no code table; give at least one, {name: table}")
    stores: dict[str, list[str]] = {}
    for name, table in tables.items() if len(tables) > 1 else ():
        stores.setdefault(table.checksum, []).append(name)
    if len(stores) > 1:
        groups = "; ".join(f"{', '.join(names)}: {tables[names[0]].store_path}" for names in stores.values())
        raise InspectionError(
            f"found runs on {len(stores)} different stores ({groups}), so row 0 of one is not the clip of "
            "another; choose runs on the same data"
        )


def match_codes(tables: Mapping[str, Any], layer: int = 1, clips: Any = None, label: str | None = None,
                bootstrap: int = 200, seed: int = 0) -> Matching:  # fmt: skip
    """Match the codes of one layer of two tables of the same store.

    Args:
        tables: two CodeTables by name.
        clips: split, rows, or None for all clips; of these, those that have codes in both tables count.
        label: whose classes are compared; None for "event", or else the first label.
        bootstrap: resamples of clips behind the interval.

    Raises:
        InspectionError: not two tables, tables of different stores, without such a layer or without codes, no common
            modality, or fewer than 2 clips.
    """
    if len(tables) != 2:
        raise InspectionError(f"found {len(tables)} of the two code tables to match")
    check_same_clips(tables)
    sides = [symbols_of(table, layer, None, clips) for table in tables.values()]
    shared = [m for m in sides[0].modalities if m in sides[1].modalities]
    if not shared:
        raise InspectionError("the two tables have no modality in common, so their codes never meet")
    first, second = (_stacked(side, shared) for side in sides)
    coded = ((first >= 0) & (second >= 0)).any(axis=1)  # of an epoch, some clips' codes are known
    if 0 < coded.sum() < len(coded):
        return match_codes(tables, layer, sides[0].rows[coded], label, bootstrap, seed)
    if len(first) < 2:
        raise InspectionError(f"found {len(first)} clip(s); matching on one half and judging on another needs 2")
    size = max(side.size for side in sides)
    met = contingency(first.ravel(), second.ravel(), size)
    total, own, others = int(met.sum()), np.asarray(met.sum(axis=1)), np.asarray(met.sum(axis=0))
    if not total:
        raise InspectionError(f"no step has a code of layer {layer} in both tables")
    draw = np.random.default_rng(seed)
    half = draw.permutation(len(first)) % 2 == 0
    part, whole = _judged(first, second, size, half)
    chance = np.mean([
        np.divide(*(side.sum() for side in _judged(first, second[draw.permutation(len(second))], size, half)))
        for _ in range(_SHUFFLES)
    ])  # fmt: skip
    found, notes = _classes(tables, layer, clips, label)
    pairs, lost = [], (set(np.flatnonzero(own).tolist()), set(np.flatnonzero(others).tolist()))
    codes = len(lost[0]), len(lost[1])
    for a, b in _assigned(met):
        together = int(met[a, b])
        if together * total > own[a] * others[b]:
            about = _compared(found, a, b) if found else {}
            pairs.append(Match(int(a), int(b), together, together / own[a], together / others[b], **about))
            lost[0].discard(int(a))
            lost[1].discard(int(b))
    pairs.sort(key=lambda match: -match.together)
    order = tuple(
        np.array([*(getattr(match, side) for match in pairs), *sorted(rest, key=lambda code: -use[code])], int)
        for side, rest, use in zip(("first", "second"), lost, (own, others), strict=True)
    )
    return Matching(
        layer, sides[0].sample, tuple(tables), tuple(pairs), tuple(tuple(sorted(rest)) for rest in lost), codes,
        share_interval(part, whole, bootstrap, seed), float(chance), met[order[0]][:, order[1]].toarray(), order,
        found[0].label if found else "", notes, dict(bootstrap=bootstrap, seed=seed),
    )  # fmt: skip


def _stacked(side: Symbols, modalities: list[str]) -> np.ndarray:
    """Codes of the modalities one after the other, ``[n, modalities * T]``."""
    return np.concatenate([side.values[m] for m in modalities], axis=1)


def _assigned(met: Any) -> np.ndarray:
    """Pairs ``[n, 2]`` of codes, one to one, that meet most often in all; without pairs that never meet."""
    rows, columns = (np.flatnonzero(np.asarray(met.sum(axis=axis))) for axis in (1, 0))
    counts = met[rows][:, columns].toarray()
    pairs = np.stack(linear_sum_assignment(counts, maximize=True), axis=1)
    pairs = pairs[counts[pairs[:, 0], pairs[:, 1]] > 0]
    return np.stack([rows[pairs[:, 0]], columns[pairs[:, 1]]], axis=1)


def _judged(first: np.ndarray, second: np.ndarray, size: int, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of each clip with matched codes, and with codes at all; matched on the half that the clip is not in."""
    valid = (first >= 0) & (second >= 0)
    part = np.zeros(len(first), int)
    for judged in (half, ~half):
        partner = np.full(size, -2)
        pairs = _assigned(contingency(first[~judged].ravel(), second[~judged].ravel(), size))
        partner[pairs[:, 0]] = pairs[:, 1]
        part[judged] = ((partner[first[judged]] == second[judged]) & valid[judged]).sum(axis=1)
    return part, valid.sum(axis=1)


def _classes(tables: Mapping[str, Any], layer: int, clips: Any,
             label: str | None) -> tuple[list[Association], tuple[str, ...]]:  # fmt: skip
    try:
        return [association(table, label, layer, clips=clips) for table in tables.values()], ()
    except InspectionError as problem:
        return [], (str(problem),)


def _compared(found: list[Association], a: int, b: int) -> dict[str, Any]:
    """Majority classes of a pair of codes, and their shares; nothing where one of them has no labelled step."""
    classes, purity = [], []
    for side, code in zip(found, (a, b), strict=True):
        place = np.flatnonzero(side.codes == code)
        if not len(place):
            return {}
        (i,) = place
        classes.append(side.classes[side.best[i]])
        purity.append(Interval(float(side.purity[i]), float(side.low[i]), float(side.high[i]), n=int(side.clips[i])))
    return dict(classes=tuple(classes), purity=tuple(purity))
