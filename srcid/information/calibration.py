"""Estimators against known truth: pairs of known information over dimension and strength, and where each is
sound.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from srcid.information.clips import complain
from srcid.information.estimates import Estimate, Settings


def gaussian_pairs(
    clips: int, dim: int, nats: float, steps: int = 1, seed: int = 0, cubic: bool = False, alike: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussian variables [clips, steps, dim] with mutual information of exactly ``nats`` at every step.

    y is a randomly rotated x with correlation rho in each direction, nats = -dim/2 log(1 - rho^2). ``cubic``
    raises every column of y to the third power, which leaves the information as it is but the conditional
    neither linear nor Gaussian. ``alike`` is the share of variance that the steps of a clip have in common
    (see :func:`likeness`): it leaves the information as it is and makes the steps worth less as evidence.
    """
    rng = np.random.default_rng([seed, dim, clips])
    rho = np.sqrt(-np.expm1(-2 * nats / dim))
    x, noise = rng.standard_normal((2, clips, steps, dim))
    if alike:
        held = rng.standard_normal((2, clips, 1, dim))
        x, noise = (np.sqrt(alike) * h + np.sqrt(1 - alike) * z for h, z in zip(held, (x, noise), strict=True))
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    y = (rho * x + np.sqrt(1 - rho**2) * noise) @ turn
    return x, y**3 if cubic else y


def channel_pairs(
    clips: int, classes: int, nats: float, steps: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Two uniform codes [clips, steps] with mutual information ``nats``: y is x, or with some probability any
    code.

    Raises:
        InformationError: ``nats`` exceeds log(classes).
    """
    from scipy.optimize import brentq

    def information(noise):
        right, wrong = 1 - noise + noise / classes, noise / classes
        return np.log(classes) + right * np.log(right) + (classes - 1) * wrong * np.log(max(wrong, 1e-300))

    if not 0 <= nats <= np.log(classes):
        complain(
            [f"{classes} classes cannot share {nats} nats; need between 0 and log({classes}) = {np.log(classes):.2f}"]
        )
    noise = (
        brentq(lambda noise: information(noise) - nats, 0.0, 1.0) if 0 < nats < np.log(classes) else float(nats == 0)
    )
    rng = np.random.default_rng([seed, classes, clips])
    x, other = rng.integers(classes, size=(2, clips, steps))
    return x, np.where(rng.random((clips, steps)) < noise, other, x)


def cluster_pairs(
    clips: int, classes: int, nats: float, steps: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Features [clips, steps, classes] and a category [clips, steps] that share ``nats``.

    The features name the other end of a noisy channel (:func:`channel_pairs`) so plainly that they carry what
    it carries: well-separated clusters, one a code.
    """
    seen, category = channel_pairs(clips, classes, nats, steps, seed)
    rng = np.random.default_rng([seed, classes, clips, 1])
    return 12 * np.eye(classes)[seen] + rng.standard_normal((clips, steps, classes)), category


def likeness(values: np.ndarray) -> float:
    """Share of the variance of features [n,T,d] that the steps of a clip have in common (intraclass correlation)."""
    values = np.asarray(values, dtype=float)
    steps = values.shape[1]
    if steps == 1:
        return 0.0
    between = steps * values.mean(axis=1).var(axis=0, ddof=1)
    within = values.var(axis=1, ddof=1).mean(axis=0)
    total = (between + (steps - 1) * within).sum()
    return float(np.clip((between - within).sum() / total, 0, 1)) if total > 0 else 0.0


def club_limit(dim: int, nats: float) -> float:
    """What CLUB gives for such a pair when q is the true conditional: dim rho^2 / (1 - rho^2).

    It exceeds the truth by the divergence of the product of marginals from the joint, without bound as the
    dependence grows: CLUB far above the truth is the bound being loose, not an error of q.
    """
    return float(dim * np.expm1(2 * nats / dim))


SHAPES = ("gaussian", "cubic", "channel", "clusters")
_COLUMNS = ("estimator", "kind", "shape", "dim", "truth", "estimate", "low", "high", "covered", "limit")


@dataclass(frozen=True)
class Calibration:
    """A table of estimates beside truths, one entry a row in every array.

    ``covered``: an estimate's interval holds the truth; an upper bound's upper end is not below it; a lower
    bound's lower end not above it. ``limit`` is the value that exact and sampled CLUB tend to with the true q
    (else NaN). ``shape`` is "gaussian", "cubic", "clusters", "channel" or "synthetic"; ``dim`` counts columns,
    or the classes of a channel. ``alike`` is what the steps of a clip had in common.
    """

    estimator: np.ndarray
    kind: np.ndarray
    shape: np.ndarray
    dim: np.ndarray
    truth: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    covered: np.ndarray
    limit: np.ndarray
    clips: int
    steps: int
    tolerance: tuple[float, float]
    settings: Settings
    alike: float = 0.0

    def __add__(self, other: Calibration) -> Calibration:
        """The rows of two calibrations of equal size and settings in one."""
        ours, theirs = ((c.clips, c.steps, c.tolerance, c.settings, c.alike) for c in (self, other))
        if ours != theirs:
            sizes = f"{ours[:2]} and {theirs[:2]} clips and steps"
            complain([f"found calibrations of {sizes}; need equal sizes and settings to put them together"])
        return replace(self, **{name: np.append(getattr(self, name), getattr(other, name)) for name in _COLUMNS})

    @property
    def bias(self) -> np.ndarray:
        """Estimate less truth, in nats."""
        return self.estimate - self.truth

    def table(self) -> dict[str, np.ndarray]:
        """All columns by name, ready for a data frame."""
        return {name: getattr(self, name) for name in (*_COLUMNS, "bias")}

    def summary(self) -> dict[str, dict[str, float]]:
        """Per estimator: mean and largest bias (nats), coverage of its intervals, number of cases."""
        found = {}
        for name in dict.fromkeys(self.estimator.tolist()):
            rows = self.estimator == name
            bias = self.bias[rows]
            found[name] = {
                "bias": float(bias.mean()),
                "worst": float(bias[np.abs(bias).argmax()]),
                "coverage": float(self.covered[rows].mean()),
                "cases": int(rows.sum()),
            }
        return found

    def passed(self) -> np.ndarray:
        """Which rows may be believed: bounds on their side of the truth, and estimates near it, within
        tolerance.
        """
        slack = np.maximum(self.tolerance[0], self.tolerance[1] * self.truth)
        above, below = self.high >= self.truth - slack, self.low <= self.truth + slack
        near = np.abs(self.bias) <= slack
        return np.where(self.kind == "upper", above, np.where(self.kind == "lower", below, near))

    def tested_range(self, estimator: str, dim: int) -> float:
        """Largest estimate (nats) up to which the estimator passed at the tested dimension next above
        ``dim``.

        Infinite for a lower bound that passed everywhere: it can only be too low. NaN where no tested dimension
        is that large, the estimator was not tested or failed at the weakest case.
        """
        mine = self.estimator == estimator
        wide = self.dim[mine & (self.dim >= dim)]
        if not wide.size:
            return float("nan")
        rows = np.flatnonzero(mine & (self.dim == wide.min()))
        most = float("nan")
        passed = self.passed()
        for truth in np.unique(self.truth[rows]):
            here = rows[self.truth[rows] == truth]
            if not passed[here].all():
                break
            most = float(np.nanmax([most, self.high[here].max()]))
        else:
            if (self.kind[rows] == "lower").all():
                return float("inf")
        return most

    def flag(self, estimate: Estimate) -> str | None:
        """Say why an estimate lies outside the tested range, or None if it lies inside."""
        name, dim = estimate.name, max(estimate.dims)
        if name not in self.estimator:
            return f"{name} was not calibrated"
        if estimate.settings.components:
            dim = min(dim, estimate.settings.components)
        if dim > (most := self.dim[self.estimator == name].max()):
            return f"outside the tested range: {dim} dimensions, tested up to {most}"
        if estimate.clips < 0.9 * self.clips:
            return f"outside the tested range: {estimate.clips} clips, tested with {self.clips}"
        most = self.tested_range(name, dim)
        if np.isnan(most):
            return f"outside the tested range: it fails even weak dependence in {dim} dimensions"
        if estimate.value > most:
            found = f"{estimate.value:.2f} nats in {dim} dimensions"
            return f"outside the tested range: {found}, sound up to {most:.2f}"
        return None

    def mark(self, estimate: Estimate) -> Estimate:
        """The estimate with :meth:`flag`'s sentence added to its flags."""
        flag = self.flag(estimate)
        return estimate if flag is None else replace(estimate, flags=(*estimate.flags, flag))


def calibrate(
    dims: tuple[int, ...] = (4, 16, 64, 256),
    strengths: tuple[float, ...] = (0.0, 0.5, 2.0, 5.0, 10.0),
    clips: int = 1000,
    steps: int = 1,
    repeats: int = 1,
    shapes: tuple[str, ...] = ("gaussian",),
    settings: Settings | None = None,
    tolerance: tuple[float, float] = (0.25, 0.25),
    alike: float = 0.0,
) -> Calibration:
    """Run every continuous estimator on :func:`gaussian_pairs` of each dimension and strength.

    Args:
        dims, strengths: dimensions of each side, mutual information in nats.
        clips, steps: size of each data set; take those of the data the calibration is meant for.
        repeats: data sets per case, for the coverage.
        shapes: "gaussian", where a linear q is the true one; "cubic", where no Gaussian q is; "channel" for
            codes and "clusters" for features against codes, with ``dims`` as numbers of classes (strengths
            above log(classes) are left out).
        settings: as they will be used; null runs are left out.
        tolerance: nats, and share of the truth, that still count as passed.
        alike: what the steps of a clip have in common, see :func:`likeness`; of "gaussian" and "cubic".

    Raises:
        InformationError: no case, or negative strengths or dimensions.
    """
    if not dims or not strengths or min(dims) < 1 or min(strengths) < 0 or repeats < 1:
        complain(
            [
                f"found dims={dims}, strengths={strengths}, repeats={repeats}; "
                "need dimensions of at least 1, "
                "strengths of at least 0 and at least one of each"
            ]
        )
    if not shapes or set(shapes) - set(SHAPES):
        complain([f"found shapes={shapes}, need some of {', '.join(SHAPES)}"])
    from srcid.information.bracket import bracket

    settings = replace(settings or Settings(), nulls=0)
    rows = []
    for shape, dim, nats, repeat in itertools.product(shapes, dims, strengths, range(repeats)):
        seed = settings.seed + repeat
        if shape in ("channel", "clusters"):
            if dim < 2 or nats > np.log(dim):
                continue
            x, y = (channel_pairs if shape == "channel" else cluster_pairs)(clips, dim, nats, steps, seed)
        else:
            x, y = gaussian_pairs(clips, dim, nats, steps, seed, cubic=shape == "cubic", alike=alike)
        rows += [_row(e, shape, dim, float(nats)) for e in bracket(x, y, settings=settings).estimates.values()]
    if not rows:
        complain([f"no case left: all strengths {strengths} exceed what {dims} classes can share"])
    return _table(rows, clips, steps, tolerance, settings, alike)


def calibrate_factors(
    features: dict[str, np.ndarray],
    factors: dict[str, np.ndarray],
    truth: dict[tuple[str, str], float],
    settings: Settings | None = None,
    tolerance: tuple[float, float] = (0.25, 0.25),
) -> Calibration:
    """Run the estimators of features against categories on data whose information is known, such as the
    synthetic store's (:func:`srcid.features.latent_information`).

    Args:
        features: [n,T,d] by modality; factors: categories as for :func:`bracket`, by name.
        truth: nats, by modality and factor; these pairs are run.
    """
    from srcid.information.bracket import bracket

    settings, rows = replace(settings or Settings(), nulls=0), []
    for (m, name), nats in truth.items():
        found = bracket(features[m], factors[name], settings=settings).estimates.values()
        rows += [_row(e, "synthetic", features[m].shape[-1], nats) for e in found]
    if not rows:
        complain(["no case: found no pair of a modality and a factor whose information is known"])
    clips, steps = next(iter(features.values())).shape[:2]
    return _table(rows, clips, steps, tolerance, settings)


def _row(e: Estimate, shape: str, dim: int, nats: float) -> tuple:
    low, high = e.interval
    covered = (e.kind == "lower" or high >= nats) and (e.kind == "upper" or low <= nats)
    known = shape == "gaussian" and e.name in ("club-exact", "club-sampled")
    return (e.name, e.kind, shape, dim, nats, e.value, low, high, covered, club_limit(dim, nats) if known else np.nan)


def _table(rows: list[tuple], clips, steps, tolerance, settings, alike: float = 0.0) -> Calibration:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Calibration(*columns, clips=clips, steps=steps, tolerance=tolerance, settings=settings, alike=alike)
