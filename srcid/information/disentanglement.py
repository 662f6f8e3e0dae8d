"""The questions a user asks of a trained model's two halves, each answered by a bracket of mutual information.

:func:`within`, :func:`across`, :func:`between_layers` and :func:`with_factors` list pairs of variables of a
CodeTable; :func:`measure` runs :func:`srcid.information.bracket.bracket` on each and keeps what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from srcid.codes import CodeTable, CodeTableError
from srcid.information.bracket import Bracket, bracket
from srcid.information.clips import InformationError, complain
from srcid.information.estimates import Settings
from srcid.information.keep import Keep
from srcid.information.leakage import Leakage, leakage

QUESTIONS = {
    "within": "general and specific features of a modality: are they apart?",
    "across": "general features of two modalities: do they share anything?",
    "layers": "layer 1 and a later layer: is the residual new?",
    "factors": "known factors: who carries what?",
}
# the letter of a variable in names; q is the vector of a code, c its number
_LETTERS = {"general": "z", "quantized": "q", "codes": "c", "specific": "s"}


@dataclass(frozen=True)
class Variable:
    """Something that a CodeTable holds of every clip and step.

    ``what`` is "general" (z), "quantized" (q, the codes' vectors), "codes" (c, their numbers), "specific" (s)
    or "label", in which case only ``label`` counts.
    """

    what: str
    layer: int = 0
    modality: str = ""
    label: str = ""

    def __str__(self) -> str:
        return self.label if self.what == "label" else f"{_LETTERS[self.what]}{self.layer} {self.modality}"


@dataclass(frozen=True)
class Comparison:
    """Two variables and the question that compares them (a key of :data:`QUESTIONS`)."""

    question: str
    x: Variable
    y: Variable

    def __str__(self) -> str:
        return f"I({self.x}; {self.y})"

    @property
    def layer(self) -> int:
        """The layer the pair is about; the later one of two."""
        return max(self.x.layer, self.y.layer)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities the pair is about."""
        return tuple(dict.fromkeys(v.modality for v in (self.x, self.y) if v.modality))


def within(table: CodeTable, what: str = "general") -> list[Comparison]:
    """Shared and specific half of each modality in each layer: z (or q) against s."""
    return [Comparison("within", Variable(what, k, m), Variable("specific", k, m)) for k, m in _places(table)]


def across(table: CodeTable, what: str = "general") -> list[Comparison]:
    """The general features (or codes) of two modalities in each layer: what CPC and code matching maximise."""
    return [
        Comparison("across", Variable(what, k, m), Variable(what, k, n))
        for k in range(1, table.layers + 1)
        for m, n in combinations(table.modalities, 2)
    ]


def between_layers(table: CodeTable, what: str = "codes") -> list[Comparison]:
    """Layer 1 against each later layer, in each modality: a residual that is new shares nothing with it."""
    return [Comparison("layers", Variable(what, 1, m), Variable(what, k, m)) for k, m in _places(table) if k > 1]


def with_factors(table: CodeTable, what: str = "codes", labels: Sequence[str] | None = None) -> list[Comparison]:
    """Each known factor of the data (all labels by default) against one half of the modalities that show it."""
    return [
        Comparison("factors", Variable(what, k, m), Variable("label", label=name))
        for name in (table.label_info if labels is None else labels)
        for k, m in _places(table)
        if m in table.label_info[name].visible_in
    ]


@dataclass(frozen=True)
class Sample:
    """Which clips (rows of the table) and steps are compared."""

    rows: np.ndarray
    steps: np.ndarray

    def __str__(self) -> str:
        steps = "one step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        return f"{len(self.rows):,} clips, {steps} of each"


def sample(table: CodeTable, clips: int = 0, steps: int = 0, seed: int = 0) -> Sample:
    """Draw clips among those whose continuous features were kept, and spread steps evenly over a clip.

    Args:
        clips, steps: how many; 0 or more than there are: all.

    Raises:
        CodeTableError: the table keeps no continuous features.
    """
    rows = table.general(1, table.modalities[0])[0]
    if 0 < clips < len(rows):
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:clips])
    count = table.steps if steps <= 0 else min(steps, table.steps)
    # middles of equal parts: the edges of a clip are its least typical steps
    return Sample(rows, ((np.arange(count) + 0.5) * table.steps / count).astype(int))


def whole(table: CodeTable) -> Sample:
    """Every clip and step; codes and labels exist for all of them, and cost little."""
    return Sample(np.arange(table.clips), np.arange(table.steps))


def values_of(table: CodeTable, variable: Variable, chosen: Sample) -> np.ndarray:
    """The variable's array: features [n,T,d], codes [n,T], or a label as the store has it.

    Raises:
        CodeTableError: the table does not hold it for these clips.
        InformationError: no such label.
    """
    if variable.what == "label":
        if variable.label not in table.label_info:
            complain([f"there is no label '{variable.label}'; there are {', '.join(table.label_info) or 'none'}"])
        values = table.labels[variable.label][chosen.rows]
        return values[:, chosen.steps] if table.label_info[variable.label].level == "step" else values
    if variable.what == "codes":
        return table.code(variable.layer, variable.modality)[chosen.rows][:, chosen.steps]
    if variable.what == "quantized":
        return table.quantized(variable.layer, variable.modality, chosen.rows)[:, chosen.steps]
    kept, values = getattr(table, variable.what)(variable.layer, variable.modality)
    place = np.searchsorted(kept, chosen.rows)
    if not np.array_equal(kept[np.minimum(place, len(kept) - 1)], chosen.rows):
        raise CodeTableError(f"{table.path} does not keep the continuous features of all these clips; use sample()")
    return np.asarray(values[place][:, chosen.steps])


@dataclass(frozen=True)
class Measurements:
    """What was found for each pair, and why nothing was found for others.

    ``clips`` and ``steps`` are those that were compared; ``source`` names the run.
    """

    brackets: dict[Comparison, Bracket]
    missing: dict[Comparison, str]
    clips: int
    steps: int
    settings: Settings
    source: str = ""

    def of(self, *questions: str) -> Measurements:
        """Only the pairs that belong to these questions."""
        return self._only(lambda pair: pair.question in questions)

    def only(self, pair: Comparison) -> Measurements:
        """That one pair."""
        return self._only(lambda other: other == pair)

    def _only(self, keep: Callable[[Comparison], bool]) -> Measurements:
        brackets = {pair: found for pair, found in self.brackets.items() if keep(pair)}
        missing = {pair: why for pair, why in self.missing.items() if keep(pair)}
        return Measurements(brackets, missing, self.clips, self.steps, self.settings, self.source)

    def rows(self) -> list[dict[str, Any]]:
        """A record for each pair: its bracket with intervals (nats), the null, and the verdict."""
        records = []
        for pair, found in self.brackets.items():
            record = {"pair": str(pair), "question": pair.question, "layer": pair.layer}
            for place in ("lower", "independent", "upper"):
                e = getattr(found, place)
                record |= {place: e.value, f"{place}_low": e.interval[0], f"{place}_high": e.interval[1]}
            null = found.null
            record |= {"null_high": float(null.max()) if len(null) else float("nan")}
            records.append(record | {"consistent": found.consistent, "verdict": found.verdict})
        return records

    def values(self, estimator: str, layer: int | None = None) -> list[float]:
        """One estimator's value (nats) of each pair that has it, of one layer or all."""
        return [
            found.estimates[estimator].value
            for pair, found in self.brackets.items()
            if estimator in found.estimates and layer in (None, pair.layer)
        ]

    @property
    def sure(self) -> dict[Comparison, Bracket]:
        """Pairs that surely share something: the lower bound's interval lies above 0.05 nats and above the null."""
        return {pair: found for pair, found in self.brackets.items() if _surely_shares(found)}

    def verdict(self) -> str:
        """Whether the pairs are apart, in a sentence: what is sure counts, not what is estimated."""
        found = list(self.brackets.values())
        if not found:
            return "Undecided: nothing could be measured."
        if self.sure:
            least = [b.lower.interval[0] for b in self.sure.values()]
            return (
                f"Not disentangled: {len(self.sure)} of {len(found)} pairs surely share information, "
                f"at least {min(least):.1f} to {max(least):.1f} nats."
            )
        if all(b.consistent and not b.upper.outside_range for b in found):
            return f"Apart as far as can be measured: at most {max(b.upper.interval[1] for b in found):.1f} nats."
        return "Undecided: nothing is surely shared, but no upper bound can be believed for every pair."

    def sentences(self) -> list[str]:
        """Each pair in words: how much there is at least and at most, and what may be believed."""
        lines = [f"{pair}: {_in_words(found)}" for pair, found in self.brackets.items()]
        return lines + [f"{pair}: not measured, {why}" for pair, why in self.missing.items()]


def measure(
    table: CodeTable,
    pairs: Iterable[Comparison],
    chosen: Sample,
    settings: Settings | None = None,
    *,
    calibration: Any = None,
    keep: Keep | None = None,
    source: str = "",
    progress: Callable[[str], None] | None = None,
) -> Measurements:
    """Bracket the mutual information of each pair.

    Args:
        chosen: the clips and steps; see :func:`sample` and :func:`whole`.
        settings: of the estimators; columns that never change are best dropped (``constant="drop"``).
        calibration: marks estimates outside the range where it tested their estimator.
        keep: where results are read from and written to.
        source: name of the run, for captions.
        progress: called with a line before each pair.
    """
    settings, keep = settings or Settings(constant="drop"), keep or Keep()
    brackets, missing = {}, {}
    pairs = list(pairs)
    for place, pair in enumerate(pairs, start=1):
        if progress:
            progress(f"{pair}, {place} of {len(pairs)}")
        try:
            brackets[pair] = _bracket(table, pair, chosen, settings, calibration, keep)
        except (CodeTableError, InformationError) as error:
            missing[pair] = _reason(error)
    return Measurements(brackets, missing, len(chosen.rows), len(chosen.steps), settings, source)


@dataclass(frozen=True)
class Leak:
    """What a probe reads of a factor from one half of a modality in one layer.

    ``side`` is "general" or "specific". ``belongs`` says whether the factor is meant to be there: a factor that
    all modalities show in the general half, a modality's private one in its specific half. Where it does not
    belong, a score above chance is a leak.
    """

    layer: int
    modality: str
    side: str
    belongs: bool
    probe: Leakage

    @property
    def private(self) -> bool:
        """Whether the factor is the modality's own, rather than shared."""
        return self.belongs == (self.side == "specific")

    def row(self) -> dict[str, Any]:
        """A record for a table."""
        p = self.probe
        return {
            "layer": self.layer, "modality": self.modality, "side": self.side, "factor": p.factor,
            "belongs": self.belongs, "metric": p.metric, "score": p.score, "low": p.interval[0],
            "high": p.interval[1], "chance": p.chance, "above chance": p.leaks, "nats": p.nats,
        }  # fmt: skip


def leaks(
    table: CodeTable,
    chosen: Sample,
    settings: Settings | None = None,
    keep: Keep | None = None,
    progress: Callable[[str], None] | None = None,
    *,
    misplaced: bool = False,
) -> tuple[list[Leak], list[str]]:
    """Probe both halves of every modality and layer for the shared factors and for its private one.

    A factor is shared if all modalities show it (``visible_in``), private to a modality that alone shows it;
    others are left out. Scores weigh all classes alike, so that background does not decide them.

    Args:
        misplaced: only look where a factor does not belong.

    Returns:
        what was found, and sentences about what could not be probed.
    """
    settings, keep = settings or Settings(constant="drop"), keep or Keep()
    found, notes = [], []
    for name, info in table.label_info.items():
        for k, m in _places(table):
            private = info.visible_in == (m,)
            if not private and set(info.visible_in) < set(table.modalities):
                continue
            for side in ("general", "specific"):
                belongs = private == (side == "specific")
                if misplaced and belongs:
                    continue
                if progress:
                    progress(f"{name} from {side} features, layer {k}, {m}")
                try:
                    features, labels = (
                        values_of(table, v, chosen) for v in (Variable(side, k, m), Variable("label", label=name))
                    )
                    mask = table.masks[m][chosen.rows][:, chosen.steps]
                    probe = keep(leakage, features, labels, mask, settings=settings, factor=name, balanced=True)
                    found.append(Leak(k, m, side, belongs, probe))
                except (CodeTableError, InformationError) as error:
                    notes.append(f"{name}, {side} features of {m}, layer {k}: {_reason(error)}")
    return found, notes


def _bracket(
    table: CodeTable, pair: Comparison, chosen: Sample, settings: Settings, calibration: Any, keep: Keep
) -> Bracket:
    x, y = (values_of(table, v, chosen) for v in (pair.x, pair.y))
    mask = np.ones((len(chosen.rows), len(chosen.steps)), dtype=bool)
    for m in pair.modalities:
        mask &= table.masks[m][chosen.rows][:, chosen.steps]
    # few values: their numbers let neighbours be counted without distances between equal vectors
    codes = values_of(table, Variable("codes", pair.x.layer, pair.x.modality), chosen) if _quantized(pair) else None
    found = keep(bracket, x, y, mask, settings=settings, codes=codes, names=(str(pair.x), str(pair.y)))
    return found if calibration is None else found.marked(calibration)


def _quantized(pair: Comparison) -> bool:
    return pair.x.what == "quantized" and pair.y.what in ("general", "specific")


def _places(table: CodeTable) -> list[tuple[int, str]]:
    return [(k, m) for k in range(1, table.layers + 1) for m in table.modalities]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).removeprefix("information cannot be estimated: - ")


def _surely_shares(found: Bracket) -> bool:
    return found.lower.above_null is not False and found.lower.interval[0] > 0.05


def _in_words(found: Bracket) -> str:
    low, high = found.lower, found.upper
    most = high.interval[1]
    limits = f"at least {low.interval[0]:.1f}" if _surely_shares(found) else "nothing surely above 0"
    if not found.consistent:
        return f"{limits} nats, no upper limit ({found.verdict})"
    if high.outside_range:
        return f"{limits} nats; how much more cannot be said, as {high.name} ({most:.1f}) is outside its tested range"
    return f"{limits} and at most {most:.1f} nats"
