"""Whether modalities agree: the codes they give to the same clip and step, and which of them meet.

Intervals come from resampling clips (for shares of steps) or from leaving groups of clips out (for what is
computed of whole histograms, which resampling would bias), never from steps: those of a clip resemble each other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial.distance import jensenshannon

from srcid.statistics import Interval, contingency, entropy, most_frequent, mutual_information, share_interval
from srcid.symbols import (
    InspectionError,
    Symbols,
    foreground_of,
    place_name,
    require_modalities,
    select_modality,
    symbols_of,
)

RESIDUAL = ("rvq", "rvq-library", "rfsq")  # quantisers whose stages each describe what the ones before left over
_GROUPS = 20  # of clips, left out one at a time
_DENSE = 2**26  # counters of meetings that are kept for all pairs of codes, met or not


@dataclass(frozen=True)
class Pair:
    """Agreement of two modalities at the same clip and step; intervals of 95 %, without ends below 2 clips.

    Attributes:
        where: "all", "event" or "background": the steps looked at.
        steps: number of clip-steps at which both modalities have a code.
        match: share of equal codes; interval from resampled clips.
        chance: share of equal codes expected if the two chose independently with the same usage.
        nmi, nmi_chance: mutual information over the mean entropy, and its expectation under random pairing.
        ami: mutual information adjusted for that expectation; 0 is chance, 1 identity up to renaming.
        distance: Jensen-Shannon distance of the two usages (base 2): 0 equal, 1 disjoint. The intervals of these
            three are of a jackknife over groups of clips, the chance level held fixed.
    """

    layer: int
    first: str
    second: str
    where: str
    steps: int
    match: Interval
    chance: float
    nmi: Interval
    nmi_chance: float
    ami: Interval
    distance: Interval


@dataclass(frozen=True)
class Agreement:
    """Agreement of all pairs of modalities of one layer; ``notes`` says what could not be computed."""

    layer: int
    stage: int | None
    sample: str
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    params: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row a pair of modalities and kind of steps."""
        rows = []
        for pair in self.pairs:
            row = dict(vars(pair))
            for name in ("match", "nmi", "ami", "distance"):
                row |= row.pop(name).columns(name)
            rows.append(row | {"sample": self.sample})
        return pd.DataFrame(rows)

    @property
    def finding(self) -> str:
        """Shares of steps with equal codes, beside the highest chance level."""
        found = [pair for pair in self.pairs if pair.where == "all"]  # every pair that has a step has this one
        if not found:
            return f"{place_name(self.layer, self.stage)} ({self.sample}): no two modalities share a step"
        if len(found) <= 3:
            said = ", ".join(f"{p.first} – {p.second} {_percent(p.match)}" for p in found)
        else:
            least, most = (sorted(found, key=lambda p: p.match.value)[end].match for end in (0, -1))
            said = f"{len(found)} pairs of modalities from {_percent(least)} to {_percent(most)}"
        chance = max(p.chance for p in found)
        return f"{place_name(self.layer, self.stage)} ({self.sample}): {said} (chance {chance:.1%})"


@dataclass(frozen=True)
class Confusion:
    """Which code of one modality meets which of the other.

    ``counts[i, j]`` clip-steps where ``first`` has code ``codes[i]`` and ``second`` has ``codes[j]``; the
    codes used by either, the ones used most by both together first. ``steps`` and ``match`` (share of equal codes,
    95 % interval from resampled clips) are of all codes, also where the table was cut to the most used ones.
    """

    layer: int
    stage: int | None
    sample: str
    first: str
    second: str
    codes: np.ndarray
    counts: np.ndarray
    steps: int
    match: Interval
    params: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """Codes of ``first`` (rows) against codes of ``second`` (columns)."""
        index, columns = (pd.Index(self.codes, name=name) for name in (self.first, self.second))
        return pd.DataFrame(self.counts, index, columns)

    @property
    def finding(self) -> str:
        """Share of steps with equal codes."""
        place = place_name(self.layer, self.stage)
        return f"{place} ({self.sample}): {self.first} – {self.second} {_percent(self.match)}"


def code_agreement(source: Any, layer: int = 1, stage: int | None = None, clips: Any = None,
              foreground: np.ndarray | None = None, bootstrap: int = 200,
              seed: int = 0) -> Agreement:  # fmt: skip
    """Compare the codes that the modalities give to the same clip and step.

    Args:
        foreground: bool ``[n, T]`` of the steps that hold an event, all others background; by default read from the
            label "event", where steps whose label is unknown are neither.
        bootstrap: resamples of clips behind the intervals; 0: none.

    Raises:
        InspectionError: no codes, or a single modality.
    """
    codes = require_modalities(symbols_of(source, layer, stage, clips), "agreement")
    notes, places = [], {}
    event = foreground_of(source, clips) if foreground is None else (foreground, np.ones_like(foreground))
    if event is None:
        notes.append("there is no label 'event', so event and background steps cannot be told apart")
    else:
        places = {"event": event[0], "background": event[1] & ~event[0]}
    uncertain = bootstrap > 0 and codes.clips > 1
    groups = min(_GROUPS, codes.clips) if uncertain else 1
    group = np.random.default_rng(seed).permutation(codes.clips) % groups
    pairs = []
    for first, second in itertools.combinations(codes.modalities, 2):
        for where, met in _meetings(codes, first, second, places, group, groups).items():
            if met.present.any():
                pairs.append(_pair(layer, first, second, where, met, bootstrap if uncertain else 0, seed))
            else:
                what = "step" if where == "all" else f"{where} step"
                notes.append(f"{first} and {second} share no {what}, so nothing is shown for it")
    return Agreement(layer, stage, codes.sample, tuple(pairs), tuple(notes), dict(bootstrap=bootstrap, seed=seed))


def part_agreement(table: Any, split: str = "test") -> list[dict[str, Any]]:
    """How far the modalities agree in each part of a code by itself: every layer, and every residual stage of it.

    A residual quantiser's later stages and a later layer both describe what the first left over. Where the modalities
    choose the same code no more often than chance, that part is not shared, whatever it says.

    Returns:
        a record a layer, stage (from 1) and place (``where``: "all", "event", "background"): means over the pairs of
        modalities of ``match`` (share of equal codes), ``chance`` (expected if they chose independently) and ``kappa``
        (Cohen 1960: 0 is chance, 1 always equal). Nothing for a run without codes, or of one modality.
    """
    if table.stages == 0 or len(table.modalities) < 2:
        return []
    records = []
    residual = table.params["quantizer"] in RESIDUAL  # the dimensions of FSQ are one code, not one after the other
    for layer in range(1, table.layers + 1):
        for stage in range(1, (table.stages if residual else 1) + 1):
            pairs = code_agreement(table, layer, stage if residual else None, table.splits[split], bootstrap=0).pairs
            for where in dict.fromkeys(pair.where for pair in pairs):
                match, chance = np.array([(p.match.value, p.chance) for p in pairs if p.where == where]).T
                kappa = (match - chance) / np.maximum(1 - chance, 1e-12)
                means = dict(match=float(match.mean()), chance=float(chance.mean()), kappa=float(kappa.mean()))
                records.append(dict(layer=layer, stage=stage, where=where, **means))
    return records


def confusion(source: Any, first: str, second: str, layer: int = 1, stage: int | None = None, clips: Any = None,
              most: int = 2000, bootstrap: int = 200) -> Confusion:  # fmt: skip
    """Count which code of ``first`` meets which of ``second`` at the same clip and step.

    Where more than ``most`` codes are in use (several stages make many), the table holds those used most.

    Raises:
        InspectionError: no codes, no such modality, or no step at which both have a code.
    """
    codes = symbols_of(source, layer, stage, clips)
    a, b = (select_modality(codes, name).values[name] for name in (first, second))
    valid = (a >= 0) & (b >= 0)
    if not valid.any():
        raise InspectionError(f"{first} and {second} share no step, so no code of one meets a code of the other")
    table = contingency(a, b, codes.size)
    total = table.sum(axis=0) + table.sum(axis=1)
    order = most_frequent(total, most)
    counts = table[order][:, order].toarray()
    match = share_interval(((a == b) & valid).sum(axis=1), valid.sum(axis=1), bootstrap)
    params = dict(most=most, bootstrap=bootstrap)
    return Confusion(layer, stage, codes.sample, first, second, order, counts, int(valid.sum()), match, params)


@dataclass(frozen=True)
class _Meetings:
    """Pairs of codes that two modalities have at the same steps.

    ``counts[g, i]`` clip-steps in the g-th group of clips at which ``first[i]`` meets ``second[i]``; ``present``
    and ``equal`` are the steps compared and equal in each clip.
    """

    size: int
    first: np.ndarray
    second: np.ndarray
    counts: np.ndarray
    present: np.ndarray
    equal: np.ndarray

    def sums(self, side: np.ndarray) -> np.ndarray:
        """Histogram of one side in every group, ``[groups, size]``."""
        cells = np.arange(len(side))
        return self.counts @ sparse.csr_array((np.ones(len(side), np.int64), (cells, side)), (len(side), self.size))

    def met(self) -> _Meetings:
        """The same without pairs of codes that never meet."""
        some = self.counts.any(axis=0)
        return replace(self, first=self.first[some], second=self.second[some], counts=self.counts[:, some])


def _meetings(codes: Symbols, first: str, second: str, places: dict[str, np.ndarray], group: np.ndarray,
              groups: int) -> dict[str, _Meetings]:  # fmt: skip
    """The meetings of two modalities at all steps, and at those of each of ``places``."""
    a, b = codes.values[first], codes.values[second]
    valid = (a >= 0) & (b >= 0)
    cell = a[valid] * np.int64(codes.size) + b[valid]
    if groups * codes.size**2 > _DENSE:  # an alphabet too large for a counter of each pair
        pairs, cell = np.unique(cell, return_inverse=True)
    else:
        pairs = np.arange(codes.size**2)
    place = np.repeat(group * len(pairs), codes.steps)[valid.ravel()] + cell

    def of(wanted: np.ndarray) -> _Meetings:
        counts = np.bincount(place[wanted[valid]], minlength=len(pairs) * groups).reshape(groups, -1)
        here = valid & wanted
        return _Meetings(codes.size, pairs // codes.size, pairs % codes.size, counts,
                         here.sum(axis=1), ((a == b) & here).sum(axis=1)).met()  # fmt: skip

    return {"all": of(valid)} | {where: of(wanted) for where, wanted in places.items()}


def _pair(layer: int, first: str, second: str, where: str, met: _Meetings, bootstrap: int, seed: int) -> Pair:
    cells, left, right = met.counts.sum(axis=0), met.sums(met.first), met.sums(met.second)
    by_first, by_second, total = left.sum(axis=0), right.sum(axis=0), int(cells.sum())
    found = mutual_information(sparse.csr_array((cells, (met.first, met.second)), (met.size, met.size)))
    values = np.array([found["nmi"], found["ami"], jensenshannon(by_first, by_second, base=2)])
    errors = 1.96 * _jackknife(met.counts, left, right, found["expected"]) if bootstrap else np.full(3, np.nan)
    low, high = np.clip([values - errors, values + errors], [0.0, -1.0, 0.0], 1.0)  # NaN stays
    nmi, ami, distance = (
        Interval(*ends, n=len(met.present)) for ends in np.stack([values, low, high], axis=1).tolist()
    )
    match, chance = share_interval(met.equal, met.present, bootstrap, seed), float(by_first @ by_second) / total**2
    return Pair(layer, first, second, where, total, match, chance, nmi, found["nmi_chance"], ami, distance)


def _jackknife(cells: np.ndarray, left: np.ndarray, right: np.ndarray, expected: float) -> np.ndarray:
    """Standard errors of NMI, AMI and Jensen-Shannon distance from leaving out one group (row) at a time."""
    cells, left, right = (side.sum(axis=0) - side for side in (cells, left, right))
    some = cells.any(axis=1)  # all steps may lie in one group
    cells, left, right = cells[some], left[some], right[some]
    mean = (entropy(left) + entropy(right)) / 2
    mi = 2 * mean - entropy(cells)
    # one code on both sides agrees with itself, as in mutual_information
    nmi = np.divide(mi, mean, out=np.ones_like(mi), where=mean > 0)
    room = mean - expected
    ami = np.divide(mi - expected, room, out=np.ones_like(mi), where=room > 1e-12)
    distance = jensenshannon(left, right, base=2, axis=1)
    return np.sqrt((len(cells) - 1) * np.array([np.var(values) for values in (nmi, ami, distance)]))


def _percent(share: Interval) -> str:
    low, value, high = (100 * end for end in (share.low, share.value, share.high))
    digits = 0 if share.known and round(low) <= round(value, 1) <= round(high) else 1  # ends that hold the value
    return f"{value:.1f}%" + (f" [{low:.{digits}f}, {high:.{digits}f}]" if share.known else "")
