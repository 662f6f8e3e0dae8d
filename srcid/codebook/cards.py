"""What is known of one code, as plain results; :class:`srcid.codebook.exemplars.CodeIndex` looks it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from srcid.statistics import Interval
from srcid.symbols import BACKGROUND

MARGIN_BINS = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class Exemplar:
    """One clip-step that has the code, or nearly has it.

    Attributes:
        distance: of the general feature to its quantised value; of a near miss to this code.
        media: reference ``kind:locator`` as in the feature store, or empty.
        label: what the label "event" (or else the first) says of the step, or empty.
        margin: how clearly the step's code was chosen, see :meth:`srcid.codes.CodeTable.margin`; NaN if not kept.
        fifth: 1 to 5, of all steps with the code in the order of their distance; 0 of a near miss.
        code: the code that the step has; another one for a near miss.
    """

    modality: str
    clip: int
    clip_id: str
    step: int
    distance: float
    media: str
    label: str
    margin: float
    fifth: int
    code: int


class Neighbour(NamedTuple):
    """Another code of the layer: Euclidean distance of the code vectors, and in how many clip-steps it occurs."""

    code: int
    distance: float
    count: int


class ClassShare(NamedTuple):
    """How often a class goes with a code.

    Attributes:
        share: of the labelled clip-steps with the code, with a 95 % Wilson interval that counts clips, not steps.
        usual: share of the class in all labelled clip-steps, which is what chance would give.
        telling: whether even the interval that covers all classes of the label at once (Bonferroni) lies above
            ``usual``.
    """

    name: str
    count: int
    share: Interval
    usual: float
    telling: bool

    @property
    def lift(self) -> float:
        """Share over usual share."""
        return self.share.value / self.usual


class Companion(NamedTuple):
    """A code of another layer at the same places: clip-steps, share of them, and its usual share."""

    code: int
    count: int
    share: float
    usual: float


class Match(NamedTuple):
    """A code that a search found; for classes ``purity`` = P(class | code), ``coverage`` = P(code | class)."""

    code: int
    count: int
    label: str = ""
    name: str = ""
    purity: float = float("nan")
    coverage: float = float("nan")


@dataclass(frozen=True)
class CodeCard:
    """All that is known of one code.

    Attributes:
        symbols: the symbols of all stages that the code stands for; empty if it never occurs.
        sample: the clips that were looked at.
        clips: how many of them the code occurs in.
        counts: clip-steps with the code, by modality.
        exemplars: by modality, from all fifths of the distance, the nearest first; one a clip.
        near_misses: by modality, steps whose second nearest code this is, the smallest margin first; one a clip.
        margins: by modality, histogram over :data:`MARGIN_BINS` of how clearly the code was chosen.
        neighbours: the nearest other code vectors of the layer.
        labels: by label name, its classes with the code, most frequent first.
        steps: by modality, how often the code occurs at each step of a clip: int ``[T]``.
        together: by other layer, its codes at the same places, most frequent first.
        notes: what cannot be shown of this code, and why.
    """

    layer: int
    code: int
    symbols: tuple[int, ...]
    sample: str
    clips: int
    counts: dict[str, int]
    exemplars: dict[str, tuple[Exemplar, ...]]
    near_misses: dict[str, tuple[Exemplar, ...]]
    margins: dict[str, np.ndarray]
    neighbours: tuple[Neighbour, ...]
    labels: dict[str, tuple[ClassShare, ...]]
    steps: dict[str, np.ndarray]
    together: dict[int, tuple[Companion, ...]]
    notes: tuple[str, ...]

    @property
    def used(self) -> bool:
        return any(self.counts.values())

    @property
    def name(self) -> tuple[str, ClassShare] | None:
        """Label and class that name the code; None where none is certain to be more frequent than usual.

        Of the telling classes the one whose interval begins highest over its usual share; background only where
        there is no other.
        """
        every = [(label, found) for label, many in self.labels.items() for found in many if found.telling]
        return max(
            every, key=lambda pair: (pair[1].name != BACKGROUND, pair[1].share.low / pair[1].usual), default=None
        )

    def frame(self) -> pd.DataFrame:
        """One row a label and class."""
        rows = [
            (label, f.name, f.count, f.share.value, f.share.low, f.share.high, f.usual, f.telling)
            for label, many in self.labels.items()
            for f in many
        ]
        return pd.DataFrame(rows, columns=["label", "class", "steps", "share", "low", "high", "usual", "telling"])

    @property
    def finding(self) -> str:
        """The code in one sentence."""
        name = f"Layer {self.layer}, code {self.code}"
        if len(self.symbols) > 1:
            name += f" = {self.symbols}"
        if not self.used:
            return f"{name}: never used in {self.sample}"
        told = f"{name}: in {self.clips:,} of {self.sample}"
        if not self.labels:
            return told
        if self.name is None:
            return f"{told}; no class is certain to be more frequent with it than without"
        label, found = self.name
        return f"{told}; {label}: {found.name} at {found.share.text('.0%')} of its steps (usually {found.usual:.0%})"
