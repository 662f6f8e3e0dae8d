"""Confidence intervals of scores: over probe seeds (Student's t) and over clips (bootstrap)."""

from __future__ import annotations

import numpy as np


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return Student's t-interval of the mean of ``values`` ``[n]`` (independent seeds); NaN if n = 1."""
    from scipy import stats

    values = np.asarray(values, float)
    if len(values) < 2:
        return float("nan"), float("nan")
    mean, error = float(values.mean()), float(stats.sem(values))
    if error == 0:
        return mean, mean
    low, high = stats.t.interval(level, df=len(values) - 1, loc=mean, scale=error)
    return float(low), float(high)


def bootstrap_weights(clips: int, replicates: int = 1000, seed: int = 0) -> np.ndarray:
    """Draw how often each clip is in each bootstrap sample: float32 ``[replicates, clips]``, rows sum to
    ``clips``.

    All scores of a table use the same draw, so that their differences and averages are resampled together.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(clips, np.full(clips, 1 / clips), size=replicates).astype(np.float32)


def percentile_interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the central ``level`` of bootstrap ``replicates`` ``[R]``."""
    low, high = np.nanquantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
