"""What an estimate of mutual information is: its settings, its uncertainty over clips and seeds, its null.

All values are in nats and mean over the steps of I(x_t; y_t), unless said otherwise: two sides are compared
at the same step of different clips, so that nothing is gained from steps of one clip resembling each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from srcid.information.clips import Side, complain


@dataclass(frozen=True)
class Settings:
    """How information is estimated; every result carries the settings it was computed with.

    Attributes:
        split: shares of the clips that fit, that stop the fit early, and that are scored.
        seeds: repetitions with another split and other initial weights.
        nulls: repetitions with the clips of y permuted, everything fitted anew.
        bootstrap: resamples of the scored clips, per seed.
        level: confidence level of the intervals.
        components: whitened principal components that networks and probes read; None reads all columns,
            standardised.
        constant: columns that never change are an error, or dropped and listed in the result.
        q: what predicts y from x in CLUB: Club's network, a ridge regression ("linear"), or the one of the
            two that the stopping clips like better ("best"): with few clips a network finds nothing in many
            dimensions.
        hidden, logvar: Club's network (:class:`srcid.model.mutual_information.Club`); InfoNCE's critics are
            as wide.
        embedding: width in which InfoNCE's separable critic compares the two sides.
        lr, batch, steps: Adam's learning rate, clips a step, most steps of a fit.
        check, patience: steps between looks at the stopping clips; looks without gain before the fit ends.
        neighbours, projection, projected: KSG's k, how it projects, and to how many components a side.
        correction: of entropies from counts, "miller-madow", "grassberger" or "none".
        chunk: clips held at once while scoring; it changes no result.
        seed: of everything random.
    """

    split: tuple[float, float, float] = (0.6, 0.15, 0.25)
    seeds: int = 3
    nulls: int = 3
    bootstrap: int = 200
    level: float = 0.95
    components: int | None = None
    constant: Literal["error", "drop"] = "error"
    q: Literal["best", "network", "linear"] = "best"
    hidden: int = 128
    logvar: Literal["free", "tanh"] = "free"
    embedding: int = 64
    lr: float = 2e-3
    batch: int = 128
    steps: int = 1000
    check: int = 20
    patience: int = 8
    neighbours: int = 4
    projection: Literal["pca", "cca"] = "pca"
    projected: int = 3
    correction: Literal["miller-madow", "grassberger", "none"] = "grassberger"
    chunk: int = 256
    seed: int = 0

    def __post_init__(self):
        least = dict(
            seeds=1,
            nulls=0,
            bootstrap=20,
            hidden=2,
            embedding=1,
            batch=2,
            steps=1,
            check=1,
            patience=1,
            neighbours=1,
            projected=1,
            chunk=1,
            seed=0,
        )
        problems = [
            f"{name}={getattr(self, name)}, need an integer of at least {low}"
            for name, low in least.items()
            if not isinstance(getattr(self, name), int) or getattr(self, name) < low
        ]
        choices = dict(
            constant=("error", "drop"),
            q=("best", "network", "linear"),
            logvar=("free", "tanh"),
            projection=("pca", "cca"),
            correction=("miller-madow", "grassberger", "none"),
        )
        problems += [
            f"{name}={getattr(self, name)!r}, need one of {', '.join(values)}"
            for name, values in choices.items()
            if getattr(self, name) not in values
        ]
        if len(self.split) != 3 or min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-9:
            problems.append(f"split={self.split}, need three positive shares that sum to 1")
        if not 0 < self.level < 1:
            problems.append(f"level={self.level}, need a share between 0 and 1")
        if not self.lr > 0:
            problems.append(f"lr={self.lr}, need a positive learning rate")
        if self.components is not None and self.components < 1:
            problems.append(f"components={self.components}, need at least 1, or None for all columns")
        complain(problems)


@dataclass(frozen=True)
class Estimate:
    """One estimate of the mutual information between two sides, in nats, with its uncertainty.

    ``interval`` covers resampled clips and estimator seeds together; ``by_seed`` has each seed's value and
    ``value`` is their mean. ``null`` has the values on permuted clips, fitted anew. ``kind`` says what the
    number is: an "upper" or "lower" bound on the truth, or an "estimate" that may err to both sides. ``cap``
    is the largest value that the estimator can return. ``flags`` are sentences about what weakens this
    number; ``detail`` has further quantities, ``curves`` one array [look, (step, fit, stop)] of mean
    log-likelihoods (or bounds) per seed.
    """

    name: str
    kind: Literal["upper", "lower", "estimate"]
    value: float
    interval: tuple[float, float]
    by_seed: np.ndarray
    null: np.ndarray
    clips: int
    dims: tuple[int, int]
    settings: Settings
    cap: float | None = None
    flags: tuple[str, ...] = ()
    detail: dict[str, float] = field(default_factory=dict)
    curves: tuple[np.ndarray, ...] = ()

    @property
    def above_null(self) -> bool | None:
        """Whether the whole interval lies above every permuted-clip value; None without null."""
        return bool(self.interval[0] > self.null.max()) if len(self.null) else None

    @property
    def outside_range(self) -> bool:
        """Whether a calibration has marked it as lying outside the range where its estimator was tested."""
        return any("tested range" in flag or "not calibrated" in flag for flag in self.flags)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.name}: {self.value:.3f} nats [{low:.3f}, {high:.3f}] ({self.kind})"


Run = Callable[[Side, Side, np.ndarray, int], dict[str, Any]]


def repeat(
    name: str,
    kind: str,
    run: Run,
    x: Side,
    y: Side,
    mask: np.ndarray,
    settings: Settings,
    seeds: int | None = None,
) -> Estimate:
    """Run one estimator over seeds and permuted clips, and put the result together.

    ``run(x, y, mask, seed)`` returns ``value``, ``replicates`` (resampled values, or a function that draws
    them, which null runs never call), and optionally ``cap``, ``flags``, ``detail`` and ``curve``.
    """
    runs = [run(x, y, mask, settings.seed + i) for i in range(seeds or settings.seeds)]
    null = [
        run(x, *permute_clips(y, mask, settings.seed, i), settings.seed + i)["value"] for i in range(settings.nulls)
    ]
    return collect(name, kind, runs, null, x, y, mask, settings)


def collect(name, kind, runs: list[dict], null: list[float], x: Side, y: Side, mask, settings: Settings) -> Estimate:
    """Put the runs of one estimator together: mean over seeds, interval over seeds and resampled clips."""
    tail = (1 - settings.level) / 2
    draws = [r["replicates"]() if callable(r["replicates"]) else r["replicates"] for r in runs]
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    values = np.array([r["value"] for r in runs])
    details = [r.get("detail", {}) for r in runs]
    flags = dict.fromkeys(flag for r in runs for flag in r.get("flags", ()))  # each once, in order
    for side, label in ((x, "x"), (y, "y")):
        if side.dropped:
            flags[f"{len(side.dropped)} constant columns of {label} were dropped"] = None
    return Estimate(
        name=name,
        kind=kind,
        value=float(values.mean()),
        interval=(float(low), float(high)),
        by_seed=values,
        null=np.array(null, dtype=float),
        clips=len(mask),
        dims=(x.dim, y.dim),
        settings=settings,
        cap=min((r["cap"] for r in runs if r.get("cap") is not None), default=None),
        flags=tuple(flags),
        detail={key: float(np.mean([d[key] for d in details])) for key in details[0]},
        curves=tuple(r["curve"] for r in runs if "curve" in r),
    )


def permute_clips(y: Side, mask: np.ndarray, seed: int, index: int) -> tuple[Side, np.ndarray]:
    """Give every clip another clip's y; the mask keeps the steps that are valid on both sides."""
    order = np.random.default_rng([seed, index, 977]).permutation(len(mask))
    return Side(y.values[order], y.discrete, y.dropped), mask & mask[order]


def resample(n: int, settings: Settings, seed: int) -> np.ndarray:
    """Draw how often each of ``n`` clips occurs in each bootstrap resample, [bootstrap, n]."""
    return np.random.default_rng([seed, 31]).multinomial(n, np.full(n, 1 / n), size=settings.bootstrap).astype(float)


def mean_over_clips(terms: np.ndarray, mask: np.ndarray, settings: Settings, seed: int) -> dict[str, Any]:
    """Mean of terms [n,T] over valid steps, with its resamples over clips."""
    total, weight = np.where(mask, terms, 0).sum(axis=1), mask.sum(axis=1)
    counts = resample(len(terms), settings, seed)
    return {"value": float(total.sum() / weight.sum()), "replicates": (counts @ total) / (counts @ weight)}
