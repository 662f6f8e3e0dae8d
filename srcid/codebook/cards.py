"""What the code explorer shows of one code, as plain results; :class:`~srcid.codebook.CodeIndex` fills them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Exemplar:
    """One clip-step that has the code.

    ``distance`` is that of the general feature to its quantised value; ``media`` a reference
    ``kind:locator`` as in the feature store, or empty; ``label`` what the label "event" (or else the first)
    says of the step, or empty.
    """

    modality: str
    clip: int
    clip_id: str
    step: int
    distance: float
    media: str
    label: str = ""


class Neighbour(NamedTuple):
    """Another code of the layer: Euclidean distance of the code vectors, and in how many clip-steps it occurs."""

    code: int
    distance: float
    count: int


class ClassShare(NamedTuple):
    """How often a class goes with a code.

    ``share`` is of the labelled clip-steps with the code, ``low`` and ``high`` its 95 % Wilson interval that
    counts clips, not steps; ``lift`` compares the share with that in all clip-steps.
    """

    name: str
    count: int
    share: float
    lift: float
    low: float
    high: float

    @property
    def usual(self) -> float:
        """Share of the class in all labelled clip-steps."""
        return self.share / self.lift


class Companion(NamedTuple):
    """A code of another layer at the same places: clip-steps, share of them, lift over its use elsewhere."""

    code: int
    count: int
    share: float
    lift: float


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
    """All that the explorer shows of one code.

    Attributes:
        symbols: the symbols of all stages that the code stands for; empty if it never occurs.
        clips: how many clips the code occurs in; ``of_clips`` is how many were looked at.
        counts: clip-steps with the code, by modality.
        spread: by modality, quartiles of the distance of features to their quantised values.
        exemplars: by modality, the nearest first; one a clip.
        neighbours: the nearest other code vectors of the layer.
        labels: by label name, its classes with the code, most frequent first.
        steps: by modality, how often the code occurs at each step of a clip: int ``[T]``.
        together: by other layer, its codes at the same places, most frequent first.
        notes: what cannot be shown of this code, and why.
    """

    layer: int
    code: int
    symbols: tuple[int, ...]
    clips: int
    of_clips: int
    counts: dict[str, int]
    spread: dict[str, tuple[float, float, float]]
    exemplars: dict[str, tuple[Exemplar, ...]]
    neighbours: tuple[Neighbour, ...]
    labels: dict[str, tuple[ClassShare, ...]]
    steps: dict[str, np.ndarray]
    together: dict[int, tuple[Companion, ...]]
    notes: tuple[str, ...]

    @property
    def used(self) -> bool:
        return any(self.counts.values())

    @property
    def telling(self) -> tuple[str, ClassShare] | None:
        """Label and class whose share stands out most: the lower end of its interval against its usual share."""
        every = [(label, found) for label, classes in self.labels.items() for found in classes]
        return max(every, key=lambda pair: pair[1].low / pair[1].usual, default=None)

    def __str__(self) -> str:
        """The code in one sentence."""
        name = f"Layer {self.layer}, code {self.code}"
        if len(self.symbols) > 1:
            name += f" = {self.symbols}"
        if not self.used:
            return f"{name}: never used in these {self.of_clips:,} clips"
        meaning = ""
        if self.telling:
            label, found = self.telling
            meaning = f"; {found.share:.0%} {label}: {found.name}, {found.lift:.1f} times its usual share"
        return f"{name}: in {self.clips:,} of {self.of_clips:,} clips{meaning}"
