"""What a layer adds: does it say something of a label that the layers before it did not?

A clip is the unit of evidence: the null moves the codes of a clip together, the jackknife leaves out clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from srcid.statistics import Interval, entropy
from srcid.symbols import (
    POOLED,
    InspectionError,
    StepLabel,
    Symbols,
    label_for,
    place_name,
    select_modality,
    symbols_of,
)

_GROUPS = 20  # of clips, left out one at a time


@dataclass(frozen=True)
class AddedInformation:
    """What the codes of one layer say of a label that the codes of earlier layers do not, in bits a step.

    Attributes:
        information: I(label; layer | given), corrected for chance: the middle of ``plug_in`` - chance,
            which is too low where the layer says nearly all, and (``plug_in`` - chance) / (1 - chance /
            ``remaining``), the adjustment of the adjusted mutual information, which is too high between the
            extremes. Chance is the mean of the null. Its interval reaches from one to the other, widened by 1.96
            errors of a jackknife over groups of clips.
        plug_in: the uncorrected value.
        null: values under permutation: codes of the layer moved between clips that agree in the given codes.
        p_value: of the plug-in value against the mean of the null, one-sided, normal with the jackknife's
            error and the null's spread together (the null alone is narrow: blocks of a clip move apart).
        given_information: I(label; given), corrected in the same way: what was known before.
        remaining: H(label | given), plug-in: what there was left to say.
    """

    layer: int
    sample: str
    given: tuple[int, ...]
    modality: str
    label: str
    information: Interval
    plug_in: float
    null: np.ndarray
    p_value: float
    given_information: float
    remaining: float
    steps: int
    clips: int
    notes: tuple[str, ...]
    params: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row."""
        row = {name: value for name, value in vars(self).items() if name not in ("null", "notes", "params")}
        ends = dict(information=self.information.value, low=self.information.low, high=self.information.high)
        return pd.DataFrame([row | ends])

    @property
    def finding(self) -> str:
        """What the layer adds, or that it is not shown to add anything."""
        given = " and ".join(map(str, self.given))
        said = "adds" if self.p_value < 0.05 else "is not shown to add anything:"
        return (
            f"{place_name(self.layer)} {said} {self.information.text('.2f')} bits a step on '{self.label}' to layer "
            f"{given} ({self.modality}, {self.sample})"
        )


def added_information(source: Any, label: str | StepLabel | None = None, layer: int = 2,
             given: Sequence[int] | None = None, modality: str | None = None, clips: Any = None,
             permutations: int = 50, seed: int = 0) -> AddedInformation:  # fmt: skip
    """Estimate I(label; codes of ``layer`` | codes of the layers ``given``): is what the layer says new?

    The plug-in estimate is far too high when the codes of two layers together have many values. Its bias is
    measured by permutation and taken off: among clip-steps that share the given codes, blocks (the steps of
    one clip) of equal length exchange their codes of the layer. That keeps everything but the link between
    layer and label, and treats the steps of a clip as one observation.

    Args:
        source: CodeTable, or ``{layer: {modality: int [N, T]}}`` with ``label`` as a StepLabel.
        given: layers to condition on; all before ``layer`` by default.
        modality: whose codes; None pools the clip-steps of all, those of one clip still one observation.
        permutations: draws of the null, at least 1.

    Raises:
        InspectionError: no such layer or label, no earlier layer, nothing labelled, fewer than 2 clips.
    """
    given = tuple(range(1, layer)) if given is None else tuple(given)
    if not given or layer in given:
        raise InspectionError(f"found layer {layer} and given {given}; need another layer to condition on")
    if permutations < 1:
        raise InspectionError(f"found {permutations} permutations; the bias correction needs at least 1")

    def read(k: int) -> Symbols:
        if not isinstance(source, Mapping):
            return select_modality(symbols_of(source, k, None, clips), modality)
        if k not in source:
            raise InspectionError(f"found layers {sorted(source)}, not a layer {k}")
        return select_modality(symbols_of(source[k], k, None, clips), modality)

    late, early = read(layer), [read(k) for k in given]
    seen = label_for(late, source, label, clips)
    names = late.modalities
    y = np.tile(seen.symbols.ravel(), len(names))
    code = np.concatenate([late.values[m].ravel() for m in names])
    befores = [np.concatenate([part.values[m].ravel() for m in names]) for part in early]
    clip = np.tile(np.repeat(np.arange(late.clips), late.steps), len(names))
    valid = (y >= 0) & (code >= 0) & np.logical_and.reduce([part >= 0 for part in befores])
    if len(np.unique(clip[valid])) < 2:
        raise InspectionError(f"found fewer than 2 clips with codes and the label '{seen.name}'; need 2")
    y, code, clip = y[valid], code[valid], clip[valid]
    combined = np.stack([part[valid] for part in befores], axis=1)
    before = np.unique(combined, axis=0, return_inverse=True)[1].ravel()

    draw = np.random.default_rng(seed)
    plug_in, known, remaining = _information(y, code, before)
    total = remaining + known
    blocks, all_steps = _Blocks(clip, before), _Blocks(clip, np.zeros_like(before))
    null = np.array([_information(y, blocks.permute(code, draw), before)[0] for _ in range(permutations)])
    known_null = [_information(y, code, all_steps.permute(before, draw))[1] for _ in range(min(permutations, 10))]
    chance = float(null.mean())
    spread = float(np.hypot(_jackknife(y, code, before, clip, draw), null.std()))
    p_value = float(stats.norm.sf((plug_in - chance) / spread)) if spread > 1e-9 else 1.0
    clips_met = len(np.unique(clip))
    least, most = _corrected(plug_in, chance, remaining)
    known_least, known_most = _corrected(known, float(np.mean(known_null)), total)
    notes = [seen.note] if seen.note else []
    if least > 0 and chance > 0.5 * plug_in:
        notes.append("more than half of the plug-in value is bias: read it with its null, or use more clips")
    if blocks.fixed > 0.5:
        notes.append(f"{blocks.fixed:.0%} of the steps found no partner to exchange, so the value is too low")
    return AddedInformation(
        layer=layer, sample=late.sample, given=given, modality=modality or POOLED, label=seen.name,
        information=Interval(
            (least + most) / 2, max(0.0, least - 1.96 * spread), min(remaining, most + 1.96 * spread), n=clips_met
        ),
        plug_in=plug_in, null=null, p_value=p_value,
        given_information=(known_least + known_most) / 2, remaining=remaining, steps=len(y),
        clips=clips_met, notes=tuple(notes),
        params=dict(permutations=permutations, seed=seed),
    )  # fmt: skip


class _Blocks:
    """Steps that move together: those of equal clip and group; blocks of one group and length may swap."""

    def __init__(self, clip: np.ndarray, group: np.ndarray) -> None:
        order = np.lexsort((clip, group))
        new = np.flatnonzero(np.diff(clip[order], prepend=-1) | np.diff(group[order], prepend=-1))
        length = np.diff(new, append=len(order))
        self.sets, alone = [], 0
        for size in np.unique(length):
            first = new[length == size]
            steps = order[first[:, None] + np.arange(size)]  # [blocks, size], sorted by group
            of_group = group[steps[:, 0]]
            self.sets.append((steps, of_group))
            _, counts = np.unique(of_group, return_counts=True)
            alone += int(size) * int((counts == 1).sum())
        self.fixed = alone / max(len(order), 1)

    def permute(self, values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        moved = values.copy()
        for steps, group in self.sets:
            moved[steps] = values[steps[np.lexsort((draw.random(len(group)), group))]]
        return moved


def _information(y: np.ndarray, code: np.ndarray, before: np.ndarray) -> tuple[float, float, float]:
    """Plug-in I(y; code | before), I(y; before) and H(y | before), in bits."""
    base = int(before.max()) + 1
    by_y = y * np.int64(base) + before
    by_code = code * np.int64(base) + before
    by_both = by_code * (int(y.max()) + 1) + y
    h_before, h_y_before, h_code_before, h_all = (_bits(v) for v in (before, by_y, by_code, by_both))
    gained = h_y_before + h_code_before - h_before - h_all
    return max(0.0, gained), max(0.0, _bits(y) + h_before - h_y_before), h_y_before - h_before


def _corrected(plug_in: float, chance: float, most: float) -> tuple[float, float]:
    """The plug-in value less chance, and the same in proportion to the room above chance."""
    less = max(0.0, plug_in - chance)
    return less, min(most, less * most / (most - chance)) if most - chance > 1e-9 else less


def _bits(values: np.ndarray) -> float:
    """Plug-in entropy in bits of integers that may be large and sparse."""
    largest = int(values.max()) + 1
    counts = np.bincount(values) if largest < 4 * len(values) + 4096 else np.unique(values, return_counts=True)[1]
    return float(entropy(counts[counts > 0]) / np.log(2))


def _jackknife(y: np.ndarray, code: np.ndarray, before: np.ndarray, clip: np.ndarray,
               draw: np.random.Generator) -> float:  # fmt: skip
    """Standard error of the plug-in value from leaving out groups of clips."""
    clips = np.unique(clip)
    groups = min(_GROUPS, len(clips))
    member = np.empty(int(clips.max()) + 1, dtype=np.int64)
    member[clips] = draw.permutation(len(clips)) % groups
    member = member[clip]
    left = [_information(y[keep], code[keep], before[keep])[0] for keep in (member != g for g in range(groups))]
    return float(np.sqrt((groups - 1) * np.var(left)))
