"""How codes are used: counts, perplexity, dead codes, and which modalities share them.

Perplexity is the exponential of the entropy of the code histogram: the number of codes that would be in use
if all were used equally; its logarithm to base 2 is the number of bits a step that the codes really carry.
Intervals come from resampling clips, never steps, because the steps of a clip resemble each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from srcid.statistics import Interval, bootstrap_weights, clip_groups, entropy, share_interval
from srcid.symbols import POOLED, Symbols, place_name, require_modalities, symbols_of

RARE = 0.1  # a code is rare when it is used less than so many times as often as if all were used equally


@dataclass(frozen=True)
class Usage:
    """Use of the codes of one layer.

    Attributes:
        size: number of codes there are.
        sample: the clips that were counted.
        names: the modalities, then "joint" for all of them together.
        counts: int ``[names, size]``, clip-steps at which each code was chosen.
        perplexity: by name, with a 95 % interval from resampled clips, corrected for the codes that a sample of this
            size misses (with few clips the value may be its lower end); without ends below 2 clips.
    """

    layer: int
    stage: int | None
    size: int
    sample: str
    names: tuple[str, ...]
    counts: np.ndarray
    perplexity: dict[str, Interval]
    params: dict[str, Any]

    @property
    def used(self) -> np.ndarray:
        """Numbers of codes in use, ``[names]``."""
        return (self.counts > 0).sum(axis=1)

    @property
    def rare(self) -> np.ndarray:
        """Numbers of codes that are used, but less than :data:`RARE` times as often as in even use, ``[names]``."""
        even = self.counts.sum(axis=1, keepdims=True) / self.size
        return ((self.counts > 0) & (self.counts < RARE * even)).sum(axis=1)

    @property
    def nominal_bits(self) -> float:
        """Bits a step if all codes were used equally."""
        return float(np.log2(self.size))

    def frame(self) -> pd.DataFrame:
        """One row a modality."""
        intervals = [self.perplexity[name] for name in self.names]
        return pd.DataFrame(
            {
                "layer": self.layer,
                "stage": self.stage,
                "modality": self.names,
                "perplexity": [i.value for i in intervals],
                "low": [i.low for i in intervals],
                "high": [i.high for i in intervals],
                "bits": [np.log2(i.value) for i in intervals],
                "used": self.used,
                "rare": self.rare,
                "dead": self.size - self.used,
                "sample": self.sample,
            }
        )

    @property
    def finding(self) -> str:
        """Perplexity of all modalities together."""
        place = place_name(self.layer, self.stage)
        return f"{place} ({self.sample}): perplexity {self.perplexity[POOLED].text('.0f')} of {self.size:,} codes"


@dataclass(frozen=True)
class Sharing:
    """Which codes belong to which modality: the modality gap, seen in codes.

    Attributes:
        codes: the used codes, the most shared first.
        share: ``[modalities, codes]``, share of each modality's steps that got the code (rows sum to 1).
        sharedness: ``[codes]``, from 0 (one modality only) to 1 (same share in all): the normalised entropy
            of the column of ``share``.
        users: ``[codes]``, how many modalities use the code.
        exclusive: number of codes that only this modality uses.
        chance: share of the used codes that would be exclusive if every stretch of equal codes in a clip had
            drawn its modality at random: a code that occurs once has one user only.
        mass: share of this modality's steps that lie on its exclusive codes, with a 95 % interval from resampled
            clips (which codes are exclusive is held fixed); without ends below 2 clips.
    """

    layer: int
    stage: int | None
    sample: str
    modalities: tuple[str, ...]
    codes: np.ndarray
    share: np.ndarray
    sharedness: np.ndarray
    users: np.ndarray
    chance: float
    exclusive: dict[str, int]
    mass: dict[str, Interval]
    params: dict[str, Any]

    @property
    def gap(self) -> float:
        """Share of the used codes that belong to one modality alone."""
        return sum(self.exclusive.values()) / len(self.codes) if len(self.codes) else float("nan")

    def frame(self) -> pd.DataFrame:
        """One row a modality."""
        mass = [self.mass[m] for m in self.modalities]
        return pd.DataFrame(
            {
                "layer": self.layer,
                "modality": self.modalities,
                "exclusive": [self.exclusive[m] for m in self.modalities],
                "used": (self.share > 0).sum(axis=1),
                "mass": [i.value for i in mass],
                "low": [i.low for i in mass],
                "high": [i.high for i in mass],
                "sample": self.sample,
            }
        )

    @property
    def finding(self) -> str:
        """How many codes one modality has for itself, beside chance."""
        alone, used = sum(self.exclusive.values()), len(self.codes)
        return (
            f"{place_name(self.layer, self.stage)} ({self.sample}): {alone} of {used} used codes belong to one "
            f"modality alone ({self.gap:.0%}; by chance {self.chance:.0%}), "
            f"{(self.users == len(self.modalities)).sum()} to all"
        )


def code_usage(source: Any, layer: int = 1, stage: int | None = None, clips: Any = None, bootstrap: int = 200,
               seed: int = 0) -> Usage:  # fmt: skip
    """Count the codes of one layer, per modality and jointly.

    Args:
        source: CodeTable or ``{modality: int [N, T]}``.
        layer, stage, clips: see :func:`srcid.symbols.symbols_of`.
        bootstrap: resamples of clips behind the interval; 0: none.

    Raises:
        InspectionError: no such layer, or no codes.
    """
    codes = symbols_of(source, layer, stage, clips)
    counts = codes.counts()
    counts = np.vstack([counts, counts.sum(axis=0)])
    level, names = entropy(counts), (*codes.modalities, POOLED)
    low, high = np.full((2, len(counts)), np.nan)
    if bootstrap and codes.clips > 1:
        drawn = _resampled_entropies(codes, bootstrap, seed)
        # reverse percentile: a resample misses codes as the sample itself did, so take that shift off twice
        low, high = 2 * level - np.quantile(drawn, [0.975, 0.025], axis=0)
        low, high = np.clip(low, 0, level), np.minimum(high, np.log(codes.size))
    ends = zip(np.exp(level).tolist(), np.exp(low).tolist(), np.exp(high).tolist(), strict=True)
    perplexity = {name: Interval(*found, n=codes.clips) for name, found in zip(names, ends, strict=True)}
    params = dict(bootstrap=bootstrap, seed=seed)
    return Usage(layer, stage, codes.size, codes.sample, names, counts, perplexity, params)


def sharing(source: Any, layer: int = 1, stage: int | None = None, clips: Any = None, bootstrap: int = 200,
            seed: int = 0) -> Sharing:  # fmt: skip
    """Order the used codes by how evenly the modalities share them.

    Args:
        bootstrap: resamples of clips behind the intervals; 0: none.

    Raises:
        InspectionError: no codes, or a single modality (there is nobody to share with).
    """
    codes = require_modalities(symbols_of(source, layer, stage, clips), "sharing")
    counts = codes.counts()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    column = share / np.maximum(share.sum(axis=0), np.finfo(float).tiny)
    logs = np.log(column, out=np.zeros_like(column), where=column > 0)
    even = -(column * logs).sum(axis=0) / np.log(len(counts))
    order = np.lexsort((-counts.sum(axis=0), -even.round(12)))
    order = order[counts.sum(axis=0)[order] > 0]
    users = (counts > 0).sum(axis=0)
    alone = (users == 1) & (counts > 0)
    mass = {}
    for m, values, own in zip(codes.modalities, codes.values.values(), alone, strict=True):
        on = np.append(own, False)[values].sum(axis=1)  # -1 reads the last entry
        mass[m] = share_interval(on, (values >= 0).sum(axis=1), bootstrap, seed)
    exclusive = dict(zip(codes.modalities, alone.sum(axis=1).tolist(), strict=True))
    return Sharing(
        layer, stage, codes.sample, codes.modalities, order, share[:, order], even[order], users[order],
        _exclusive_by_chance(codes), exclusive, mass, dict(bootstrap=bootstrap, seed=seed),
    )  # fmt: skip


def _exclusive_by_chance(codes: Symbols) -> float:
    begins = {m: np.diff(v, axis=1, prepend=-1) != 0 for m, v in codes.values.items()}
    stretches = np.stack([
        np.bincount(v[begins[m] & (v >= 0)], minlength=codes.size) for m, v in codes.values.items()
    ])  # fmt: skip
    each = stretches.sum(axis=0)
    weight = stretches.sum(axis=1) / max(each.sum(), 1)
    return float((weight[:, None] ** each[each > 0]).sum(axis=0).mean()) if each.any() else float("nan")


def _resampled_entropies(codes: Symbols, bootstrap: int, seed: int) -> np.ndarray:
    """Entropies ``[resamples, modalities + 1]`` of resampled clips, the same clips in all modalities."""
    group, groups = clip_groups(codes.clips, seed)
    columns = np.ascontiguousarray(bootstrap_weights(groups, bootstrap, seed).T)
    unit = np.repeat(group, codes.steps)
    joint, levels = 0.0, []
    for values in codes.values.values():
        flat = values.ravel()
        valid = flat >= 0
        ones = np.ones(int(valid.sum()), dtype=np.float32)
        histogram = sparse.csc_matrix((ones, (flat[valid], unit[valid])), shape=(codes.size, groups)) @ columns
        joint = joint + histogram
        levels.append(entropy(histogram.T))
    return np.stack([*levels, entropy(joint.T)], axis=1)
