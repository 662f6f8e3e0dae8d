"""Do two quantities of runs go together? A rank correlation with its interval, whatever the shape of the relation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srcid.information.clips import complain

FEWEST = 5  # runs below which no rank correlation is given


@dataclass(frozen=True)
class RankRelation:
    """Spearman's rank correlation over runs.

    ``rho`` is in -1 to 1, ``interval`` its percentile bootstrap interval over runs, ``p_value`` two-sided,
    from permutations of one quantity over the runs. With groups, ranks are counted from each group's mean and
    permutations and resamples stay within groups: what groups differ in cannot make a relation.
    """

    rho: float
    interval: tuple[float, float]
    p_value: float
    runs: int
    groups: int
    params: dict[str, Any]

    @property
    def p_text(self) -> str:
        """The p value as text."""
        return "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"

    def __str__(self) -> str:
        low, high = self.interval
        within = f" within {self.groups} groups" if self.groups > 1 else ""
        value = f"rank correlation {self.rho:+.2f} [{low:+.2f}, {high:+.2f}]"
        return f"{value}, {self.p_text}, {self.runs} runs{within}"


def rank_relation(
    x: Sequence[float],
    y: Sequence[float],
    groups: Sequence[Any] | None = None,
    resamples: int = 4000,
    level: float = 0.95,
    seed: int = 0,
) -> RankRelation:
    """Rank correlation of two quantities measured on the same runs.

    Args:
        x, y: one finite number a run.
        groups: a label a run, such as its method; groups of one run say nothing and are left out.
        resamples: of the bootstrap, and random permutations of the test.

    Raises:
        InformationError: unequal lengths, values that are not finite, fewer than :data:`FEWEST` runs, or a
            quantity that is the same in all of them.
    """
    from scipy import stats

    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    label = np.zeros(len(x), dtype=int)
    if groups is not None and len(groups) == len(x):
        label = np.unique(np.array([str(g) for g in groups]), return_inverse=True)[1]
    problems = []
    if x.shape != y.shape or x.ndim != 1 or (groups is not None and len(groups) != len(x)):
        problems.append(f"found {x.shape} and {y.shape} values; need one of each, and one group, a run")
    elif not (np.isfinite(x).all() and np.isfinite(y).all()):
        problems.append("found values that are not finite; leave these runs out")
    complain(problems)
    big = np.bincount(label)[label] > 1
    x, y, label = x[big], y[big], label[big]
    if len(x) < FEWEST:
        complain([f"found {len(x)} runs to compare (groups of one are left out); need at least {FEWEST}"])
    members = [np.flatnonzero(label == g) for g in np.unique(label)]

    def inner(values, rows):
        """Ranks of the chosen runs, from the mean of their group."""
        ranks = stats.rankdata(values[rows]) - (len(rows) + 1) / 2
        means = np.bincount(label[rows], ranks) / np.maximum(np.bincount(label[rows]), 1)
        return ranks - means[label[rows]]

    def correlation(a, b):
        size = np.sqrt((a @ a) * (b @ b))
        return float(a @ b / size) if size > 1e-12 else float("nan")

    every = np.arange(len(x))
    a, b = inner(x, every), inner(y, every)
    rho = correlation(a, b)
    if np.isnan(rho):
        complain(["one quantity is the same in all runs (of a group); need runs that differ"])
    rng = np.random.default_rng(seed)
    shuffled = []
    for _ in range(resamples):
        order = every.copy()
        for rows in members:
            order[rows] = rng.permutation(rows)
        shuffled.append(correlation(a, b[order]))
    p_value = (1 + np.sum(np.abs(shuffled) >= abs(rho) - 1e-12)) / (1 + resamples)
    draws = []
    for _ in range(resamples):
        rows = np.concatenate([rng.choice(rows, len(rows)) for rows in members])
        draws.append(correlation(inner(x, rows), inner(y, rows)))
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    params = dict(resamples=resamples, level=level, seed=seed)
    return RankRelation(rho, (float(low), float(high)), float(p_value), len(x), len(members), params)
