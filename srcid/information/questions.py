"""Which variables of a CodeTable are compared, and on which clips.

:func:`within`, :func:`of_codes`, :func:`across` and :func:`between_layers` list the pairs that a question is about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from srcid.codes import CodeTable, CodeTableError
from srcid.information.estimates import raise_problems

_LETTERS = {"general": "z", "codes": "c", "specific": "s"}  # of a variable in names


@dataclass(frozen=True)
class Variable:
    """What a CodeTable holds of every clip and step: "general" (z), "codes" (c) or "specific" (s) of a layer and
    modality."""

    what: str
    layer: int
    modality: str

    def __str__(self) -> str:
        return f"{_LETTERS[self.what]}{self.layer} {self.modality}"


@dataclass(frozen=True)
class Comparison:
    """Two variables and the question that compares them: "within", "codes", "across" or "layers"."""

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
        return tuple(dict.fromkeys((self.x.modality, self.y.modality)))


def within(table: CodeTable) -> list[Comparison]:
    """General and specific features of each modality in each layer: z against s."""
    return [Comparison("within", Variable("general", k, m), Variable("specific", k, m)) for k, m in places(table)]


def of_codes(table: CodeTable) -> list[Comparison]:
    """The code and the specific features of each modality in each layer: what the split itself promises to be 0."""
    return [Comparison("codes", Variable("codes", k, m), Variable("specific", k, m)) for k, m in places(table)]


def across(table: CodeTable) -> list[Comparison]:
    """The general features of two modalities in each layer: what CPC and code matching maximise."""
    return [
        Comparison("across", Variable("general", k, m), Variable("general", k, n))
        for k in range(1, table.layers + 1)
        for m, n in combinations(table.modalities, 2)
    ]


def between_layers(table: CodeTable) -> list[Comparison]:
    """Codes of layer 1 against each later layer's, in each modality: a residual that is new shares nothing with it."""
    return [Comparison("layers", Variable("codes", 1, m), Variable("codes", k, m)) for k, m in places(table) if k > 1]


@dataclass(frozen=True)
class Sample:
    """Which clips (rows of the table), of which split, and which steps are compared."""

    rows: np.ndarray
    steps: np.ndarray
    split: str

    def __str__(self) -> str:
        steps = "one step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        return f"{len(self.rows):,} {self.split if self.split != 'all' else 'training and test'} clips, {steps} of each"


def sample(table: CodeTable, clips: int = 0, steps: int = 0, split: str = "test") -> Sample:
    """Draw clips among those whose continuous features were kept, and spread steps evenly over a clip.

    Args:
        clips, steps: how many; 0 or more than there are: all.
        split: whose clips; "all" mixes those that the encoders know by heart with those that they do not.

    Raises:
        CodeTableError: the table keeps no continuous features.
        InformationError: no such split, or no clip of it is kept.
    """
    rows = np.intersect1d(table.general(1, table.modalities[0])[0], all_clips(table, split).rows)
    raise_problems(
        [f"found no clip of split '{split}' whose features were kept; raise keep_features"] * (not len(rows))
    )
    if 0 < clips < len(rows):
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:clips])
    count = table.steps if steps <= 0 else min(steps, table.steps)
    # middles of equal parts: the edges of a clip are its least typical steps
    return Sample(rows, ((np.arange(count) + 0.5) * table.steps / count).astype(int), split)


def all_clips(table: CodeTable, split: str = "test") -> Sample:
    """Every clip and step of a split; codes exist for all of them, and cost little.

    Raises:
        InformationError: no such split.
    """
    if split not in ("all", *table.splits):
        raise_problems([f"found split='{split}'; need one of {', '.join([*table.splits, 'all'])}"])
    rows = np.arange(table.clips) if split == "all" else np.sort(table.splits[split])
    return Sample(rows, np.arange(table.steps), split)


def values_of(table: CodeTable, variable: Variable, chosen: Sample) -> np.ndarray:
    """The variable's array: features [n,T,d] or codes [n,T].

    Raises:
        CodeTableError: the table does not hold it for these clips.
    """
    if variable.what == "codes":
        return table.code(variable.layer, variable.modality)[chosen.rows][:, chosen.steps]
    kept, values = getattr(table, variable.what)(variable.layer, variable.modality)
    if not np.isin(chosen.rows, kept).all():
        raise CodeTableError(f"{table.path} does not keep the continuous features of all these clips; use sample()")
    return np.asarray(values[np.searchsorted(kept, chosen.rows)][:, chosen.steps])


def mask_of(table: CodeTable, modalities: Iterable[str], chosen: Sample) -> np.ndarray:
    """Steps [n,T] that are valid in all these modalities."""
    return np.all([table.masks[m][chosen.rows][:, chosen.steps] for m in modalities], axis=0)


def places(table: CodeTable) -> list[tuple[int, str]]:
    """Every layer and modality."""
    return [(k, m) for k in range(1, table.layers + 1) for m in table.modalities]
