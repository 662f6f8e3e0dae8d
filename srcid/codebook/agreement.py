"""Whether modalities agree: the codes they give to the same clip and step, and which of them meet.

Intervals come from resampling clips (for shares of steps) or from leaving groups of clips out (for what is
computed of whole histograms, which resampling would bias), never from steps: those of a clip resemble each other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from srcid.codebook.usage import clip_weights
from srcid.statistics import contingency, entropy, mutual_information
from srcid.symbols import DiagnosticsError, Symbols, foreground_of, several, symbols_of

RESIDUAL = ("rvq", "rvq-library", "rfsq")  # quantisers whose stages each describe what the ones before left over
_GROUPS = 20  # of clips, left out one at a time


@dataclass(frozen=True)
class Pair:
    """Agreement of two modalities at the same clip and step.

    Attributes:
        where: "all", "event" or "background": the steps looked at.
        steps: number of clip-steps at which both modalities have a code.
        match, low, high: share of equal codes, with a 95 % interval from resampled clips.
        chance: share of equal codes expected if the two chose independently with the same usage.
        nmi, nmi_chance: mutual information over the mean entropy, and its expectation under random pairing.
        ami: mutual information adjusted for that expectation; 0 is chance, 1 identity up to renaming.
        distance: Jensen-Shannon distance of the two usages (base 2): 0 equal, 1 disjoint.
        nmi_low to distance_high: 95 % intervals by a jackknife over groups of clips, the chance level held
            fixed; NaN, like ``low`` and ``high``, below 2 clips or where none was asked for.
    """

    layer: int
    first: str
    second: str
    where: str
    steps: int
    match: float
    low: float
    high: float
    chance: float
    nmi: float
    nmi_chance: float
    ami: float
    distance: float
    nmi_low: float
    nmi_high: float
    ami_low: float
    ami_high: float
    distance_low: float
    distance_high: float


@dataclass(frozen=True)
class Agreement:
    """Agreement of all pairs of modalities of one layer; ``notes`` says what could not be computed."""

    layer: int
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    params: dict[str, Any]

    def of(self, first: str, second: str, where: str = "all") -> Pair:
        """The entry of two modalities, in either order."""
        for pair in self.pairs:
            if {pair.first, pair.second} == {first, second} and pair.where == where:
                return pair
        raise DiagnosticsError(f"found no agreement of {first} and {second} at '{where}' steps in this result")

    def rows(self) -> list[dict[str, Any]]:
        """One record a pair, for a table."""
        return [dict(vars(pair)) for pair in self.pairs]


@dataclass(frozen=True)
class Confusion:
    """Which code of one modality meets which of the other.

    ``counts[i, j]`` clip-steps where ``first`` has code ``codes[i]`` and ``second`` has ``codes[j]``; the
    codes used by either, the ones used most by both together first. ``steps`` and ``match`` (share of equal codes)
    are of all codes, also where the table was cut to the most used ones.
    """

    layer: int
    first: str
    second: str
    codes: np.ndarray
    counts: np.ndarray
    steps: int
    match: float
    params: dict[str, Any]

    def top(self, k: int = 10, equal: bool = False) -> list[dict[str, Any]]:
        """The ``k`` most frequent meetings of different codes (or of any, if ``equal``), with their lift."""
        counts = self.counts if equal else self.counts * ~np.eye(len(self.codes), dtype=bool)
        order = np.argsort(-counts, axis=None, kind="stable")[: min(k, int((counts > 0).sum()))]
        total, by_first, by_second = self.counts.sum(), self.counts.sum(1), self.counts.sum(0)
        return [
            {
                self.first: int(self.codes[i]),
                self.second: int(self.codes[j]),
                "count": int(counts[i, j]),
                "lift": float(counts[i, j] * total / (by_first[i] * by_second[j])),
            }
            for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)
        ]


def code_agreement(source: Any, layer: int = 1, stage: int | None = None, clips: Any = None,
              foreground: np.ndarray | None = None, bootstrap: int = 200,
              seed: int = 0) -> Agreement:  # fmt: skip
    """Compare the codes that the modalities give to the same clip and step.

    Args:
        foreground: bool ``[n, T]`` of the steps that hold an event; by default read from the label "event".
        bootstrap: resamples of clips behind the intervals; 0: none.

    Raises:
        DiagnosticsError: no codes, or a single modality.
    """
    codes = several(symbols_of(source, layer, stage, clips), "agreement")
    notes = []
    if foreground is None:
        foreground = foreground_of(source, clips)
    if foreground is None:
        notes.append("there is no label 'event', so event and background steps cannot be told apart")
    sure = bootstrap > 0 and codes.clips > 1
    weights = clip_weights(codes.clips, bootstrap, seed) if sure else None
    groups = np.random.default_rng(seed).permutation(codes.clips) % min(_GROUPS, codes.clips) if sure else None
    pairs = []
    for first, second in itertools.combinations(codes.modalities, 2):
        meetings = _meetings(codes, first, second, foreground, groups)
        for where, met in meetings.items():
            if met.present.any():
                pairs.append(_pair(layer, first, second, where, met, weights))
            else:
                notes.append(f"{first} and {second} share no {where} step, so nothing is shown for it")
    return Agreement(layer, tuple(pairs), tuple(notes), dict(stage=stage, bootstrap=bootstrap, seed=seed))


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
                match, chance = np.array([(p.match, p.chance) for p in pairs if p.where == where]).T
                values = match.mean(), chance.mean(), ((match - chance) / np.maximum(1 - chance, 1e-12)).mean()
                named = zip(("match", "chance", "kappa"), map(float, values), strict=True)
                records.append(dict(layer=layer, stage=stage, where=where, **dict(named)))
    return records


def confusion(source: Any, first: str, second: str, layer: int = 1, stage: int | None = None,
              clips: Any = None, most: int = 2000) -> Confusion:  # fmt: skip
    """Count which code of ``first`` meets which of ``second`` at the same clip and step.

    Where more than ``most`` codes are in use (several stages make many), the table holds those used most.
    """
    codes = symbols_of(source, layer, stage, clips)
    for name in (first, second):
        if name not in codes.modalities:
            raise DiagnosticsError(f"found no modality '{name}', only {', '.join(codes.modalities)}")
    table = contingency(codes.values[first], codes.values[second], codes.size)
    total = table.sum(axis=0) + table.sum(axis=1)
    used = int((total > 0).sum())
    order = np.argsort(-total, kind="stable")[: min(used, most)]
    counts = table[order][:, order].toarray()
    steps = int(table.sum())
    match = float(table.diagonal().sum() / steps) if steps else float("nan")
    params = dict(stage=stage, clips=codes.clips, used=used, most=most)
    return Confusion(layer, first, second, order, counts, steps, match, params)


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
        from scipy import sparse

        cells = np.arange(len(side))
        return self.counts @ sparse.csr_array((np.ones(len(side), np.int64), (cells, side)), (len(side), self.size))

    def __sub__(self, other: _Meetings) -> _Meetings:
        return _Meetings(
            self.size, self.first, self.second, self.counts - other.counts,
            self.present - other.present, self.equal - other.equal,
        )  # fmt: skip


def _meetings(codes: Symbols, first: str, second: str, foreground: np.ndarray | None,
              groups: np.ndarray | None) -> dict[str, _Meetings]:  # fmt: skip
    """The meetings of two modalities at all steps, and at those with and without an event."""
    a, b = codes.values[first], codes.values[second]
    valid = (a >= 0) & (b >= 0)
    pairs, cell = np.unique(a[valid] * np.int64(codes.size) + b[valid], return_inverse=True)
    group = np.zeros(codes.clips, np.int64) if groups is None else groups
    count = int(group.max(initial=0)) + 1
    place = np.repeat(group * len(pairs), codes.steps)[valid.ravel()] + cell

    def of(chosen: np.ndarray) -> _Meetings:
        counts = np.bincount(place[chosen[valid]], minlength=len(pairs) * count).reshape(count, -1)
        here = valid & chosen
        return _Meetings(codes.size, pairs // codes.size, pairs % codes.size, counts,
                         here.sum(axis=1), ((a == b) & here).sum(axis=1))  # fmt: skip

    found = {"all": of(valid)}
    if foreground is not None:
        found["event"] = of(foreground)
        found["background"] = found["all"] - found["event"]
    return found


def _pair(layer: int, first: str, second: str, where: str, met: _Meetings, weights: np.ndarray | None) -> Pair:
    from scipy import sparse
    from scipy.spatial.distance import jensenshannon

    cells, left, right = met.counts.sum(axis=0), met.sums(met.first), met.sums(met.second)
    by_first, by_second, total = left.sum(axis=0), right.sum(axis=0), int(cells.sum())
    found = mutual_information(sparse.csr_array((cells, (met.first, met.second)), (met.size, met.size)))
    found["distance"] = float(jensenshannon(by_first, by_second, base=2))
    low = high = float("nan")
    errors = np.full(3, np.nan)
    if weights is not None:
        drawn = weights @ np.stack([met.equal, met.present], axis=1).astype(np.float32)
        low, high = np.quantile(drawn[:, 0] / np.maximum(drawn[:, 1], 1), [0.025, 0.975]).tolist()
        errors = 1.96 * _jackknife(met.counts, left, right, found["expected"])
    ends = [
        np.clip([found[name] - error, found[name] + error], floor, 1.0).tolist()  # NaN stays
        for name, floor, error in zip(("nmi", "ami", "distance"), (0.0, -1.0, 0.0), errors.tolist(), strict=True)
    ]
    return Pair(
        layer, first, second, where, total, float(met.equal.sum()) / total, low, high,
        float(by_first @ by_second) / total**2, found["nmi"], found["nmi_chance"], found["ami"], found["distance"],
        *(end for interval in ends for end in interval),
    )  # fmt: skip


def _jackknife(cells: np.ndarray, left: np.ndarray, right: np.ndarray, expected: float) -> np.ndarray:
    """Standard errors of NMI, AMI and Jensen-Shannon distance from leaving out one group (row) at a time."""
    from scipy.spatial.distance import jensenshannon

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
