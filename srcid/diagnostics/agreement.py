"""Whether modalities agree: the codes they give to the same clip and step, and which of them meet.

Intervals come from resampling clips, never steps, because the steps of a clip resemble each other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from srcid.diagnostics.contingency import contingency, mutual_information
from srcid.diagnostics.reading import DiagnosticsError, Symbols, foreground_of, several, symbols_of
from srcid.diagnostics.usage import clip_weights

if TYPE_CHECKING:
    from scipy.sparse import csr_array


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
    codes used by either, the ones used most by both together first.
    """

    layer: int
    first: str
    second: str
    codes: np.ndarray
    counts: np.ndarray
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
    weights = clip_weights(codes.clips, bootstrap, seed) if bootstrap and codes.clips > 1 else None
    pairs = []
    for first, second in itertools.combinations(codes.modalities, 2):
        meetings = {"all": _Meetings.of(codes, first, second)}
        if foreground is not None:
            meetings["event"] = _Meetings.of(codes, first, second, foreground)
            meetings["background"] = meetings["all"] - meetings["event"]
        for where, met in meetings.items():
            if met.present.any():
                pairs.append(_pair(layer, first, second, where, met, weights))
            else:
                notes.append(f"{first} and {second} share no {where} step, so nothing is shown for it")
    return Agreement(layer, tuple(pairs), tuple(notes), dict(stage=stage, bootstrap=bootstrap, seed=seed))


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
    return Confusion(layer, first, second, order, counts, dict(stage=stage, clips=codes.clips, used=used, most=most))


@dataclass(frozen=True)
class _Meetings:
    """Codes of two modalities at the same steps: contingency table, and steps compared and equal per clip."""

    table: csr_array
    present: np.ndarray
    equal: np.ndarray

    @classmethod
    def of(cls, codes: Symbols, first: str, second: str, chosen: np.ndarray | None = None) -> _Meetings:
        a, b = codes.values[first], codes.values[second]
        if chosen is not None:
            a = np.where(chosen, a, -1)
        valid = (a >= 0) & (b >= 0)
        return cls(contingency(a, b, codes.size), valid.sum(axis=1), ((a == b) & valid).sum(axis=1))

    def __sub__(self, other: _Meetings) -> _Meetings:
        return _Meetings(self.table - other.table, self.present - other.present, self.equal - other.equal)


def _pair(layer: int, first: str, second: str, where: str, met: _Meetings, weights: np.ndarray | None) -> Pair:
    from scipy.spatial.distance import jensenshannon

    total, by_first, by_second = int(met.table.sum()), met.table.sum(axis=1), met.table.sum(axis=0)
    low = high = float("nan")
    if weights is not None:
        drawn = weights @ np.stack([met.equal, met.present], axis=1).astype(np.float32)
        low, high = np.quantile(drawn[:, 0] / np.maximum(drawn[:, 1], 1), [0.025, 0.975]).tolist()
    found = mutual_information(met.table)
    return Pair(
        layer, first, second, where, total, float(met.table.diagonal().sum()) / total, low, high,
        float(by_first @ by_second) / total**2, found["nmi"], found["nmi_chance"], found["ami"],
        float(jensenshannon(by_first, by_second, base=2)),
    )  # fmt: skip
