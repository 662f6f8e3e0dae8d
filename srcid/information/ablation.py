"""Runs that differ in where CLUB is on: what was measured of each beside what its codes are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from srcid.codes import CodeTable
from srcid.information.disentanglement import measure
from srcid.information.estimates import Settings, estimates_cache, raise_problems, reason
from srcid.information.leakage import leaks
from srcid.information.questions import of_codes, sample, within
from srcid.statistics import Interval, percentile_interval

FEWEST = 5  # runs below which no rank correlation is given
_NAMES = {(): "on in all layers", (1,): "off in layer 1", (2,): "off in layer 2", (1, 2): "off in both"}


def comparable_runs(params: pd.DataFrame) -> list[str]:
    """Runs of two layers or more that have a partner which differs from them in CLUB's layers only."""
    varied = params.groupby(["family", "codebook_size"])["method"].transform("nunique") > 1
    return list(params.index[(params["layers"] > 1) & varied])


def measure_run(codes: Any, clips: int, steps: int, split: str, settings: Settings) -> dict[str, float]:
    """Measure how far one run's halves are split; results are kept beside its code table.

    Returns:
        ``mi/infonce/<layer>``, ``mi/club/<layer>`` and ``code/<layer>`` (lower bound of I(code; s)), nats, mean over
        modalities; ``leak/shared`` and ``leak/private``, points of balanced accuracy above chance, mean over places.
    """
    table = CodeTable.open(codes)
    keep, chosen = estimates_cache(table.path.parent / "information"), sample(table, clips, steps, split)
    features = measure(table, within(table), chosen, settings, keep=keep)
    of_code = measure(table, of_codes(table), chosen, settings, keep=keep)
    wrong = leaks(table, chosen, settings, keep, misplaced=True)
    found: dict[str, list[float]] = {}
    for pair, b in features.brackets.items():
        found.setdefault(f"mi/infonce/{pair.layer}", []).append(b.lower.value)
        found.setdefault(f"mi/club/{pair.layer}", []).append(b.upper.value)
    for pair, b in of_code.brackets.items():
        found.setdefault(f"code/{pair.layer}", []).append(b.lower.value)
    for kind, private in (("shared", False), ("private", True)):
        found[f"leak/{kind}"] = [
            100 * (v.probe.score.value - v.probe.chance) for v in wrong.misplaced(private) if v.probe.metric != "r2"
        ]
    return {key: float(np.mean(values)) for key, values in found.items() if values}


def compare_settings(
    directions: pd.DataFrame,
    params: pd.DataFrame,
    measured: Mapping[str, Mapping[str, float]],
    metrics: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Put each run's measurements and its scores across modalities side by side; a row a run, by setting of CLUB.

    Args:
        directions, params: frames of :func:`srcid.runs.collect`.
        measured: of each run, what :func:`measure_run` found.
        metrics: another column of ``directions`` than ``score``, by task.

    Returns:
        ``setting``, ``seed``, the measurements, and ``score/<task>`` in percent, mean over directions to another
        modality; NaN where something is missing.
    """
    rows = {}
    wanted = directions[(directions["representation"] == "all") & ~directions["same"].astype(bool)]
    for name, found in measured.items():
        off = tuple(params.loc[name, "club_off"] or ())
        setting = _NAMES.get(off, f"off in layers {', '.join(map(str, off))}")
        rows[name] = {"setting": setting, "seed": int(params.loc[name, "seed"]), **found}
        for task, part in wanted[wanted["run"] == name].groupby("task", sort=False):
            rows[name][f"score/{task}"] = float(part[(metrics or {}).get(task, "score")].mean())
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")
    order = {setting: place for place, setting in enumerate(_NAMES.values())}
    return frame.sort_values("setting", key=lambda s: s.map(order).fillna(9), kind="stable") if rows else frame


@dataclass(frozen=True)
class RankRelation:
    """Spearman's rank correlation over runs, with its bootstrap interval and its permutation test.

    With groups, ranks are counted from each group's mean: what groups differ in cannot make a relation.
    """

    rho: Interval
    p_value: float
    groups: int

    @property
    def finding(self) -> str:
        """Whether the two quantities go together, in one sentence."""
        within = f" within {self.groups} groups" if self.groups > 1 else ""
        sign = "rise together" if self.rho.value > 0 else "go in opposite directions"
        what = sign if self.p_value < 0.05 and self.rho.excludes(0) else "show no clear relation"
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        return f"They {what}: rank correlation {self.rho.text('+.2f')}, {p}, {self.rho.n} runs{within}."


def rank_relation(
    x: Sequence[float], y: Sequence[float], groups: Sequence[Any] | None = None, resamples: int = 2000
) -> RankRelation:
    """Rank correlation of two quantities measured on the same runs.

    Args:
        x, y: one finite number a run.
        groups: a label a run, such as its setting; groups of one run say nothing and are left out.
        resamples: of the bootstrap, and random permutations of the test.

    Raises:
        InformationError: unequal lengths, values that are not finite, fewer than :data:`FEWEST` runs, or a
            quantity that is the same in all of them.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    label = np.zeros(len(x), int) if groups is None else np.unique(np.asarray(groups, str), return_inverse=True)[1]
    if x.shape != y.shape or x.ndim != 1 or len(label) != len(x):
        raise_problems([f"found {x.shape} and {y.shape} values; need one of each, and one group, a run"])
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise_problems(["found values that are not finite; leave these runs out"])
    big = np.bincount(label)[label] > 1 if groups is not None else np.ones(len(x), bool)
    x, y, label = x[big], y[big], np.unique(label[big], return_inverse=True)[1]
    if len(x) < FEWEST:
        alone = " (groups of one are left out)" if groups is not None else ""
        raise_problems([f"found {len(x)} runs to compare{alone}; need at least {FEWEST}"])

    def ranks(values: np.ndarray) -> np.ndarray:
        found = stats.rankdata(values)
        return found - (np.bincount(label, found) / np.bincount(label))[label]

    a, b = ranks(x), ranks(y)
    if np.ptp(a) < 1e-12 or np.ptp(b) < 1e-12:
        raise_problems(["one quantity is the same in all runs (of a group); need runs that differ"])

    def correlation(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        a, b = a - a.mean(axis=axis, keepdims=True), b - b.mean(axis=axis, keepdims=True)
        with np.errstate(invalid="ignore"):
            return (a * b).sum(axis=axis) / np.sqrt((a**2).sum(axis=axis) * (b**2).sum(axis=axis))

    rng = np.random.default_rng(0)
    test = stats.permutation_test(
        (a,), lambda a, axis: correlation(a, b, axis), permutation_type="pairings", n_resamples=resamples,
        vectorized=True, random_state=rng,
    )  # fmt: skip
    drawn = rng.integers(0, len(x), (resamples, len(x)))
    interval = percentile_interval(correlation(a[drawn], b[drawn]), 0.95, float(correlation(a, b)), len(x))
    return RankRelation(interval, float(test.pvalue), len(np.unique(label)))


def relate(
    frame: pd.DataFrame, pairs: Sequence[tuple[str, str]], within: str = ""
) -> dict[tuple[str, str], RankRelation | str]:
    """:func:`rank_relation` of pairs of columns, or the reason why there is none; within groups of a column."""
    found: dict[tuple[str, str], RankRelation | str] = {}
    for x, y in pairs:
        try:
            rows = frame.dropna(subset=[x, y])
            found[x, y] = rank_relation(rows[x], rows[y], rows[within] if within else None)
        except (ValueError, KeyError) as error:
            found[x, y] = reason(error)
    return found
