"""Estimators against known truth: pairs of known information, and how far each estimator was sound on them.

A run's own features come first (:func:`same_class`): they have the geometry, dimension and number that estimates
are wanted for. Closed forms with linear, heavy-tailed and sparse dependence come second (:func:`closed_forms`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import digamma, gammaln, xlogy

from srcid.cache import Cache
from srcid.information.bracket import Bracket, bracket
from srcid.information.estimates import Estimate, Settings, estimates_cache, raise_problems
from srcid.statistics import Interval, wilson_interval

TOLERANCE = (0.25, 0.25)  # nats, and share of the truth, that still count as passed
CASES = ((2, 0.5), (16, 0.5), (16, 0.0), (64, 0.0))  # classes and error: 0, 0.7, 2.8 and 4.2 nats


@dataclass(frozen=True)
class Known:
    """Two variables [n,T,...] whose mutual information is ``truth`` nats at every step; ``panel`` names their kind."""

    panel: str
    truth: float
    x: np.ndarray
    y: np.ndarray


def channel_information(classes: int, error: float) -> float:
    """Nats through a symmetric channel: ln C + (1-p) ln(1-p) + p ln(p / (C-1)), error p to any other class."""
    wrong = error / (classes - 1)
    return float(np.log(classes) + xlogy(1 - error, 1 - error) + (classes - 1) * xlogy(wrong, wrong))


def cells(features: np.ndarray, count: int) -> np.ndarray:
    """Divide features [n,d] into ``count`` (a power of 2) cells of equal size; their numbers [n], rows left over -1.

    Each cell is halved at the median of its first principal component, so that features determine it exactly.
    """
    numbers = np.full(len(features), -1)

    def halve(rows: np.ndarray, first: int, count: int) -> None:
        if count == 1:
            numbers[rows] = first
            return
        centred = features[rows] - features[rows].mean(axis=0)
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        order = rows[np.argsort(centred @ direction * np.sign(direction[np.abs(direction).argmax()]), kind="stable")]
        halve(order[: len(order) // 2], first, count // 2)
        halve(order[len(order) // 2 :], first + count // 2, count // 2)

    halve(np.sort(np.random.default_rng(0).permutation(len(features))[: len(features) // count * count]), 0, count)
    return numbers


def same_class(
    panel: str, x: np.ndarray, y: np.ndarray | None = None, cases: Iterable[tuple[int, float]] = CASES
) -> Iterator[Known]:
    """Pairs of known information made of a run's own features, by same-class pairing (Lee and Rhee 2024).

    A clip's x goes with the y of another clip of the same class, or, with probability ``error``, of another class.
    Given the classes x and y are then independent; where features determine their class, I(x;y) is exactly what
    passes the channel between the classes. Classes are :func:`cells` of each side's own features, which they do
    determine. Without y the other side is the class itself: features against codes.

    Args:
        x, y: features [n,T,d], of the same clips.
        cases: number of classes (a power of 2) and error of each pair; those with more classes than a fifth of
            the clips are left out.
    """
    rng = np.random.default_rng([0, 3])
    for classes, error in cases:
        if classes > len(x) / 5:
            continue
        size = len(x) // classes * classes
        left, right = [], []
        for t in range(x.shape[1]):
            mine = cells(x[:, t], classes)
            rows = np.argsort(mine, kind="stable")[len(x) - size :]  # by class, without those left over
            target = np.repeat(np.arange(classes), size // classes)
            wrong = rng.random(size) < error
            target = np.where(wrong, (target + rng.integers(1, classes, size)) % classes, target)
            if y is None:
                found = target
            else:
                theirs, lent = cells(y[:, t], classes), np.zeros(size, dtype=int)
                for c in range(classes):  # each y once, if no class is wanted more often than it has members
                    wanted = np.flatnonzero(target == c)
                    lent[wanted] = np.resize(rng.permutation(np.flatnonzero(theirs == c)), len(wanted))
                found = y[lent, t]
            order = rng.permutation(size)
            left.append(x[rows[order], t])
            right.append(found[order])
        yield Known(panel, channel_information(classes, error), np.stack(left, axis=1), np.stack(right, axis=1))


def gaussian_pairs(clips: int, dim: int, nats: float, seed: int = 0, active: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussian variables [clips, 1, dim] that share ``nats``, evenly over ``active`` directions (0: all).

    I = -active/2 log(1 - rho^2). y is randomly rotated where all directions are active.
    """
    rng = np.random.default_rng([seed, dim, clips])
    rho = np.zeros(dim)
    rho[: active or dim] = np.sqrt(-np.expm1(-2 * nats / (active or dim)))
    x, noise = rng.standard_normal((2, clips, 1, dim))
    y = rho * x + np.sqrt(1 - rho**2) * noise
    return x, y if active else y @ np.linalg.qr(rng.standard_normal((dim, dim)))[0]


def student_information(dim: int, freedom: float, nats: float = 0.0) -> float:
    """Nats that two halves, of ``dim`` columns each, of one multivariate Student-t share (Czyz et al. 2023).

    With identity dispersion, f(v) + f(v + 2 dim) - 2 f(v + dim) with f(v) = ln Gamma(v/2) - (v/2) psi(v/2): the
    halves are uncorrelated, but large together. A correlated dispersion adds its Gaussian information ``nats``.
    """
    f = [gammaln(v / 2) - v / 2 * digamma(v / 2) for v in (freedom, freedom + dim, freedom + 2 * dim)]
    return float(nats + f[0] + f[2] - 2 * f[1])


def student_pairs(clips: int, dim: int, freedom: float, nats: float = 0.0, seed: int = 0) -> tuple:
    """Two halves [clips, 1, dim] of a multivariate Student-t; see :func:`student_information`."""
    x, y = gaussian_pairs(clips, dim, nats, seed)
    radius = np.sqrt(freedom / np.random.default_rng([seed, dim, clips, 9]).chisquare(freedom, (clips, 1, 1)))
    return x * radius, y * radius


def closed_forms(clips: int, dim: int) -> Iterator[Known]:
    """Pairs whose information is known in closed form, of ``clips`` clips and ``dim`` columns a side.

    Dense: Gaussian, a little in every direction. Sparse: two of the directions only. Heavy tails: Student-t with 3
    degrees of freedom, without and with correlation. Cubed: y^3 of a dense pair, whose information it keeps.
    """
    for nats in (0.0, 1.0, 4.0):
        yield Known("dense", nats, *gaussian_pairs(clips, dim, nats))
        yield Known("sparse: 2 columns", nats, *gaussian_pairs(clips, dim, nats, active=min(2, dim)))
        truth = student_information(dim, 3.0, nats)
        yield Known("heavy tails (Student-t)", truth, *student_pairs(clips, dim, 3.0, nats))
        x, y = gaussian_pairs(clips, dim, nats)
        yield Known("cubed", nats, x, y**3)


@dataclass(frozen=True)
class Case:
    """One estimate of a known information."""

    panel: str
    truth: float
    estimate: Estimate

    @property
    def bias(self) -> float:
        """Estimate less truth, in nats."""
        return self.estimate.value - self.truth

    @property
    def passed(self) -> bool:
        """Whether a bound lies on its side of the truth, or an estimate near it, within :data:`TOLERANCE`."""
        slack, found = max(TOLERANCE[0], TOLERANCE[1] * self.truth), self.estimate.interval
        if self.estimate.kind == "estimate":
            return abs(self.bias) <= slack
        return found.high >= self.truth - slack if self.estimate.kind == "upper" else found.low <= self.truth + slack


@dataclass(frozen=True)
class Calibration:
    """Estimates beside truths, and up to what value each estimator was sound.

    Attributes:
        cases: every estimator on every known pair.
        clips, settings: size of the pairs and how they were estimated.
    """

    cases: tuple[Case, ...]
    clips: int
    settings: Settings

    @property
    def panels(self) -> tuple[str, ...]:
        """Kinds of known pairs."""
        return tuple(dict.fromkeys(case.panel for case in self.cases))

    def of(self, panel: str) -> tuple[Case, ...]:
        """The cases of one panel, by truth."""
        return tuple(sorted((c for c in self.cases if c.panel == panel), key=lambda case: case.truth))

    def share(self, kind: str) -> Interval:
        """Share of the cases of a kind of estimate that passed, with Wilson's 95 % interval; n is their number."""
        found = [case.passed for case in self.cases if case.estimate.kind == kind]
        return wilson_interval(float(np.mean(found)), len(found)) if found else Interval(np.nan)

    @property
    def finding(self) -> str:
        """How many bounds from below and from above held, in one sentence."""
        parts = []
        for kind, words in (("lower", "lower bounds"), ("upper", "upper bounds")):
            share = self.share(kind)
            if share.n:
                parts.append(f"{share.value:.0%} of {share.n} {words} [{share.low:.0%}, {share.high:.0%}]")
        return f"On pairs of known information, {' and '.join(parts)} hold."

    def frame(self) -> pd.DataFrame:
        """A row a case: panel, estimator, truth, estimate with interval, bias, passed; nats."""
        return pd.DataFrame(
            {"panel": c.panel, "estimator": c.estimate.name, "kind": c.estimate.kind, "truth": c.truth,
             "estimate": c.estimate.value, "low": c.estimate.interval.low, "high": c.estimate.interval.high,
             "bias": c.bias, "passed": c.passed}
            for c in self.cases
        )  # fmt: skip

    def limit(self, panel: str, name: str) -> float:
        """Largest estimate (nats) up to which an estimator passed every weaker case of a panel.

        Infinite for a lower bound that passed everywhere: it can only be too low. NaN where it was not tested, or
        failed at the weakest case.
        """
        most, mine = np.nan, [case for case in self.of(panel) if case.estimate.name == name]
        for case in mine:
            if not case.passed:
                return most
            most = float(np.fmax(most, case.estimate.interval.high))
        return np.inf if mine and mine[0].estimate.kind == "lower" else most

    def mark(self, panel: str, found: Bracket) -> Bracket:
        """The bracket with estimates marked that lie outside the range where their estimator was sound."""
        estimates = {}
        for name, e in found.estimates.items():
            limit = self.limit(panel, name)
            why = "" if e.value <= limit else f"outside its calibrated range (sound up to {limit:.2f} nats)"
            if np.isnan(limit):
                tested = any(case.estimate.name == name for case in self.of(panel))
                why = "unsound on pairs of known information" if tested else "not calibrated"
            estimates[name] = replace(e, unreliable=e.unreliable or why)
        return replace(found, estimates=estimates)


def calibrate(
    known: Iterable[Known],
    settings: Settings | None = None,
    keep: Cache | None = None,
    progress: Callable[[str], None] | None = None,
) -> Calibration:
    """Run the estimators that fit on pairs of known information.

    Args:
        known: pairs, such as :func:`same_class` and :func:`closed_forms` give.
        settings: as they will be used; one seed and no permuted clips are enough here.
        keep: where brackets are read from and written to.
        progress: called with a line before each panel.

    Raises:
        InformationError: there is no pair.
    """
    once, keep = (settings or Settings()).model_copy(update=dict(seeds=1, nulls=0)), keep or estimates_cache()
    cases, clips = [], 0
    for pair in known:
        if progress and pair.panel not in {case.panel for case in cases}:
            progress(f"{pair.panel}, of known information")
        found = keep(bracket, pair.x, pair.y, settings=once)
        clips = max(clips, len(pair.x))
        cases += [Case(pair.panel, pair.truth, estimate) for estimate in found.estimates.values()]
    raise_problems(["found no pair of known information; need at least one"] * (not cases))
    return Calibration(tuple(cases), clips, once)
