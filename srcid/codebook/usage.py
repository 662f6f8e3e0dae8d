"""How codes are used: counts, perplexity, dead codes, and which modalities share them.

Perplexity is the exponential of the entropy of the code histogram: the number of codes that would be in use
if all were used equally; its logarithm to base 2 is the number of bits a step that the codes really carry.
Intervals come from resampling clips, never steps, because the steps of a clip resemble each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from srcid.statistics import entropy
from srcid.symbols import POOLED, DiagnosticsError, Symbols, several, symbols_of


@dataclass(frozen=True)
class Usage:
    """Use of the codes of one layer.

    Attributes:
        names: the modalities, then "joint" for all of them together; the rows of all arrays below.
        counts: int ``[names, size]``, clip-steps at which each code was chosen.
        perplexity, low, high: ``[names]``, with a 95 % interval from resampled clips (corrected for the bias
            that resampling adds, so with few clips it may lie above the plug-in value). NaN below 2 clips.
        used, dead, rare: ``[names]``, numbers of codes. A code is rare when it is used, but less than
            ``rare_share`` times as often as it would be were all codes used equally.
        bits: ``[names]``, log2 of the perplexity; ``nominal_bits`` is log2 of the number of codes.
    """

    layer: int
    stage: int | None
    size: int
    names: tuple[str, ...]
    counts: np.ndarray
    perplexity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    used: np.ndarray
    dead: np.ndarray
    rare: np.ndarray
    bits: np.ndarray
    params: dict[str, Any]

    @property
    def nominal_bits(self) -> float:
        return float(np.log2(self.size))

    def rank_frequency(self, name: str = POOLED) -> np.ndarray:
        """Shares of the used codes of one row, the most used first."""
        counts = self.counts[self.names.index(name)]
        return np.sort(counts[counts > 0])[::-1] / max(counts.sum(), 1)

    def top(self, k: int = 10, name: str = POOLED) -> list[dict[str, Any]]:
        """The ``k`` most used codes of one row, with their share and their count in every modality."""
        counts = self.counts[self.names.index(name)]
        order = np.argsort(-counts, kind="stable")[: min(k, int((counts > 0).sum()))]
        return [
            {"code": int(c), "count": int(counts[c]), "share": float(counts[c] / counts.sum())}
            | {m: int(self.counts[row, c]) for row, m in enumerate(self.names[:-1])}
            for c in order
        ]

    def rows(self) -> list[dict[str, Any]]:
        """One record a row, for a table."""
        fields = ("perplexity", "low", "high", "used", "dead", "rare", "bits")
        return [
            {
                "layer": self.layer,
                "stage": self.stage,
                "modality": name,
                **{field: getattr(self, field)[row].item() for field in fields},
            }
            for row, name in enumerate(self.names)
        ]


@dataclass(frozen=True)
class Sharing:
    """Which codes belong to which modality: the modality gap, seen in codes.

    Attributes:
        codes: the used codes, the most shared first.
        share: ``[modalities, codes]``, share of each modality's steps that got the code (rows sum to 1).
        sharedness: ``[codes]``, from 0 (one modality only) to 1 (same share in all): the normalised entropy
            of the column of ``share``.
        users: ``[codes]``, how many modalities use the code at least ``least`` times.
        exclusive: number of codes that only this modality uses.
        chance: share of the used codes that would be exclusive if every stretch of equal codes in a clip had
            drawn its modality at random: a code that occurs once has one user only. NaN if ``least`` is above 1.
        mass: share of this modality's steps that lie on its exclusive codes; ``mass_low`` and ``mass_high`` are a
            95 % interval from resampled clips (which codes are exclusive is held fixed), NaN below 2 clips.
    """

    layer: int
    modalities: tuple[str, ...]
    codes: np.ndarray
    share: np.ndarray
    sharedness: np.ndarray
    users: np.ndarray
    chance: float
    exclusive: dict[str, int]
    mass: dict[str, float]
    mass_low: dict[str, float]
    mass_high: dict[str, float]
    params: dict[str, Any]

    @property
    def gap(self) -> float:
        """Share of the used codes that belong to one modality alone."""
        return sum(self.exclusive.values()) / len(self.codes) if len(self.codes) else float("nan")

    def rows(self) -> list[dict[str, Any]]:
        """One record a modality, for a table."""
        return [
            {"layer": self.layer, "modality": m, "exclusive": self.exclusive[m], "used": int((self.share[i] > 0).sum())}
            | {"mass": self.mass[m], "low": self.mass_low[m], "high": self.mass_high[m]}
            for i, m in enumerate(self.modalities)
        ]


@dataclass(frozen=True)
class Growth:
    """Series logged while training: ``series[key]`` at ``step``, NaN where a line did not hold the key."""

    step: np.ndarray
    series: dict[str, np.ndarray]


def code_usage(source: Any, layer: int = 1, stage: int | None = None, clips: Any = None, bootstrap: int = 200,
          rare_share: float = 0.1, seed: int = 0) -> Usage:  # fmt: skip
    """Count the codes of one layer, per modality and jointly.

    Args:
        source: CodeTable or ``{modality: int [N, T]}``.
        layer, stage, clips: see :func:`srcid.symbols.symbols_of`.
        bootstrap: resamples of clips behind the interval; 0: none.

    Raises:
        DiagnosticsError: no such layer, or no codes.
    """
    codes = symbols_of(source, layer, stage, clips)
    counts = np.stack([np.bincount(v[v >= 0], minlength=codes.size) for v in codes.values.values()])
    counts = np.vstack([counts, counts.sum(axis=0)])
    level = entropy(counts)
    low, high = np.full((2, len(counts)), np.nan)
    if bootstrap and codes.clips > 1:
        drawn = _resampled(codes, clip_weights(codes.clips, bootstrap, seed))
        # reverse percentile: a resample misses codes as the sample itself did, so take that shift off twice
        low, high = 2 * level - np.quantile(drawn, [0.975, 0.025], axis=0)
    used = (counts > 0).sum(axis=1)
    rare = (counts > 0) & (counts < rare_share * counts.sum(axis=1, keepdims=True) / codes.size)
    return Usage(
        layer, stage, codes.size, (*codes.modalities, POOLED), counts, np.exp(level),
        np.exp(np.maximum(low, 0)), np.minimum(np.exp(high), codes.size), used, codes.size - used,
        rare.sum(axis=1), level / np.log(2),
        dict(bootstrap=bootstrap, rare_share=rare_share, seed=seed, clips=codes.clips),
    )  # fmt: skip


def sharing(source: Any, layer: int = 1, stage: int | None = None, clips: Any = None, least: int = 1,
            bootstrap: int = 200, seed: int = 0) -> Sharing:  # fmt: skip
    """Order the used codes by how evenly the modalities share them.

    Args:
        least: how often a modality must use a code to count as its user.
        bootstrap: resamples of clips behind the intervals; 0: none.

    Raises:
        DiagnosticsError: no codes, or a single modality (there is nobody to share with).
    """
    codes = several(symbols_of(source, layer, stage, clips), "sharing")
    counts = np.stack([np.bincount(v[v >= 0], minlength=codes.size) for v in codes.values.values()])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    column = share / np.maximum(share.sum(axis=0), np.finfo(float).tiny)
    logs = np.log(column, out=np.zeros_like(column), where=column > 0)
    even = -(column * logs).sum(axis=0) / np.log(len(counts))
    order = np.lexsort((-counts.sum(axis=0), -even.round(12)))
    order = order[counts.sum(axis=0)[order] > 0]
    users = (counts >= least).sum(axis=0)
    alone = (users == 1) & (counts >= least)
    mass = (share * alone).sum(axis=1)
    low, high = np.full((2, len(counts)), np.nan)
    if bootstrap and codes.clips > 1:
        weights = clip_weights(codes.clips, bootstrap, seed)
        for row, values in enumerate(codes.values.values()):
            on = np.append(alone[row], False)[values].sum(axis=1)  # -1 reads the last entry
            drawn = weights @ np.stack([on, (values >= 0).sum(axis=1)], axis=1).astype(np.float32)
            low[row], high[row] = np.quantile(drawn[:, 0] / np.maximum(drawn[:, 1], 1), [0.025, 0.975])
    by_modality = (alone.sum(axis=1), mass, low, high)
    chance = _exclusive_by_chance(codes) if least == 1 else float("nan")
    return Sharing(
        layer, codes.modalities, order, share[:, order], even[order], users[order], chance,
        *(dict(zip(codes.modalities, values.tolist(), strict=True)) for values in by_modality),
        dict(stage=stage, least=least, clips=codes.clips, bootstrap=bootstrap, seed=seed),
    )  # fmt: skip


def _exclusive_by_chance(codes: Symbols) -> float:
    begins = {m: np.diff(v, axis=1, prepend=-1) != 0 for m, v in codes.values.items()}
    stretches = np.stack([
        np.bincount(v[begins[m] & (v >= 0)], minlength=codes.size) for m, v in codes.values.items()
    ])  # fmt: skip
    each = stretches.sum(axis=0)
    weight = stretches.sum(axis=1) / max(each.sum(), 1)
    return float((weight[:, None] ** each[each > 0]).sum(axis=0).mean()) if each.any() else float("nan")


def growth(metrics: Path | str | Iterable[Mapping[str, Any]], split: str = "",
           kinds: Iterable[str] = ("perplexity", "used", "agreement")) -> Growth:  # fmt: skip
    """Read how the use of codes grew during training.

    Args:
        metrics: ``metrics.jsonl`` of a run, or its records.
        split: "val" for the validation lines.
        kinds: quantities to keep; their keys are ``kind/layer/modality``.

    Raises:
        DiagnosticsError: no such line; the message names what is there.
    """
    if isinstance(metrics, (str, Path)):
        with open(metrics) as lines:
            metrics = [json.loads(line) for line in lines if line.strip()]
    records = list(metrics)
    starts = tuple(f"{split}/{kind}/" if split else f"{kind}/" for kind in kinds)
    keys = sorted({key for record in records for key in record if key.startswith(starts)})
    if not keys:
        there = sorted({key.split("/")[0] for record in records for key in record})
        raise DiagnosticsError(f"found no {' or '.join(starts)} in these metrics, only {', '.join(there) or 'nothing'}")
    records = [record for record in records if any(key in record for key in keys)]
    series = {key: np.array([record.get(key, np.nan) for record in records], dtype=float) for key in keys}
    return Growth(np.array([record["step"] for record in records]), series)


@lru_cache(maxsize=1)  # the same resamples serve all layers and views of a table
def clip_weights(clips: int, resamples: int, seed: int) -> np.ndarray:
    """How often each clip is drawn in each resample: float32 ``[resamples, clips]``."""
    draw = np.random.default_rng(seed)
    times = [np.bincount(draw.integers(clips, size=clips), minlength=clips) for _ in range(resamples)]
    return np.stack(times).astype(np.float32)


def _resampled(codes: Symbols, weights: np.ndarray) -> np.ndarray:
    """Entropies ``[resamples, modalities + 1]`` of resampled clips, the same clips in all modalities."""
    from scipy import sparse

    clip = np.repeat(np.arange(codes.clips), codes.steps)
    columns = np.ascontiguousarray(weights.T)
    joint, levels = 0.0, []
    for values in codes.values.values():
        flat = values.ravel()
        valid = flat >= 0
        ones = np.ones(int(valid.sum()), dtype=np.float32)
        histogram = sparse.csc_matrix((ones, (flat[valid], clip[valid])), shape=(codes.size, codes.clips)) @ columns
        joint = joint + histogram
        levels.append(entropy(histogram.T))
    return np.stack([*levels, entropy(joint.T)], axis=1)
