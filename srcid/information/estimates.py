"""Estimates of mutual information: their settings, the clips they read, their uncertainty and their null.

The steps of a clip resemble each other, so the unit is the *clip*: whatever is fitted, stopped and scored is
divided by clips, and intervals resample clips. Two sides are compared at the same step of different clips; values
are nats, the mean over steps of I(x_t; y_t). Splits are drawn after the clips were put in the order of their
content, so that the order in which a caller has them (both sides together) changes no result.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from srcid.cache import Cache
from srcid.params import Section
from srcid.problems import ProblemsError
from srcid.statistics import Interval, bootstrap_weights, percentile_interval

LEVEL = 0.95  # of all intervals
PARTS = {"fit": 0.6, "stop": 0.15, "score": 0.25}  # shares of the clips
LARGEST = 1e100  # value of a feature
SMALLEST = {"fit": 16, "stop": 8, "score": 12}  # clips below which a part says nothing


class InformationError(ProblemsError):
    """Inputs from which no information can be estimated; the message lists every problem at once."""


def raise_problems(problems: Iterable[str]) -> None:
    """Raise :class:`InformationError` if there are problems."""
    InformationError.check("information cannot be estimated:", problems)


def reason(error: Exception) -> str:
    """What an error says, on one line."""
    return "; ".join(getattr(error, "problems", ())) or " ".join(str(error).split())


def estimates_cache(folder: str | Path | None = None) -> Cache:
    """A :class:`Cache` of estimates in ``folder``; after a change of the estimators they are computed anew."""
    return Cache(folder, code=_code())


@functools.cache
def _code() -> str:
    folder = Path(__file__).parent
    files = (*sorted(folder.glob("*.py")), folder.parent / "model" / "mutual_information.py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


class Settings(Section):
    """How information is estimated; every result carries the settings it was computed with."""

    seeds: int = Field(2, ge=1, description="repetitions with another split and other initial weights")
    nulls: int = Field(1, ge=0, description="repetitions with the clips of y permuted, everything fitted anew")
    bootstrap: int = Field(200, ge=20, description="resamples of the scored clips, per seed")
    steps: int = Field(200, ge=1, description="most steps of a network's fit")
    seed: int = Field(0, ge=0, description="of everything random")


@dataclass(frozen=True)
class Estimate:
    """One estimate of the mutual information between two sides.

    Attributes:
        kind: an "upper" or "lower" bound on the truth, or an "estimate" that may err to both sides.
        interval: nats; the mean over seeds, with the interval over resampled clips and seeds. Infinite: unbounded.
        by_seed, null: each seed's value, and the values on permuted clips, fitted anew.
        dims: columns of each side, or its categories.
        cap: largest value that the estimator can return.
        flags: sentences about what weakens this number.
        unreliable: why a calibration says that it lies outside the range where its estimator was sound; or empty.
        detail: further quantities.
        curves: for each seed whose network was fitted, (step, fitting clips, stopping clips) of each look.
    """

    name: str
    kind: Literal["upper", "lower", "estimate"]
    interval: Interval
    by_seed: tuple[float, ...]
    null: tuple[float, ...]
    dims: tuple[int, int]
    settings: Settings
    cap: float | None = None
    flags: tuple[str, ...] = ()
    unreliable: str = ""
    detail: dict[str, float] = field(default_factory=dict)
    curves: tuple[tuple[tuple[float, float, float], ...], ...] = ()

    @property
    def value(self) -> float:
        """Mean over seeds, in nats."""
        return self.interval.value

    @property
    def above_null(self) -> bool | None:
        """Whether the whole interval lies above every permuted-clip value; None without null."""
        return self.interval.low > max(self.null) if self.null else None

    @property
    def text(self) -> str:
        """``0.83 [0.71, 0.92]``, or "unbounded"."""
        return "unbounded" if np.isinf(self.value) else self.interval.text(".2f")

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}): {self.text} nats"


@dataclass(frozen=True)
class Side:
    """One of the two variables: ``values`` is float64 [n,T,d], or int64 [n,T] where it is ``discrete``."""

    values: np.ndarray
    discrete: bool
    dropped: int = 0

    @property
    def dim(self) -> int:
        """Columns of features, or how many categories occur."""
        return len(np.unique(self.values)) if self.discrete else self.values.shape[-1]


def as_categories(labels: Any) -> np.ndarray:
    """Turn labels into one integer a clip ([n]) or a step ([n,T]); negative means "not known".

    Integers pass unchanged. Booleans are multi-label with the classes on the last axis: each combination that
    occurs becomes a category (no class at all is one too).
    """
    labels = np.asarray(labels)
    if labels.dtype != bool:
        return labels.astype(np.int64)
    flat = labels.reshape(-1, labels.shape[-1])
    return np.unique(flat, axis=0, return_inverse=True)[1].reshape(labels.shape[:-1]).astype(np.int64)


def read_pair(x: Any, y: Any, mask: Any = None) -> tuple[Side, Side, np.ndarray]:
    """Check two variables of the same clips and return them as sides with the mask bool [n,T] of valid steps.

    Floating arrays are features [n,T,d], or [n,d] for one value a clip. Integer arrays are codes or
    categories [n,T] or [n], negative where missing; boolean ones are multi-label. What has one value a clip
    is repeated over the steps of the other. Columns that never change are dropped. The clips come back in the
    order of their content.

    Raises:
        InformationError: different numbers of clips or steps, wrong rank, NaN or infinite values, a constant
            side, a mask of another shape; all reported at once.
    """
    problems: list[str] = []
    arrays = {name: _ranked(name, np.asarray(array), problems) for name, array in (("x", x), ("y", y))}
    raise_problems(problems)
    (n, t), (m, u) = (array.shape[:2] for array in arrays.values())
    if n != m:
        problems.append(f"x has {n} clips and y {m}; row i of both must be the same clip")
    if t != u and 1 not in (t, u):
        problems.append(f"x has {t} steps and y {u}; need equal steps or one value a clip")
    t = max(t, u)
    mask = np.ones((n, t), dtype=bool) if mask is None else np.asarray(mask)
    if mask.shape != (n, t) or mask.dtype != bool:
        problems.append(f"mask: found {mask.dtype} {list(mask.shape)}, need bool [{n}, {t}]")
    raise_problems(problems)
    arrays = {name: np.broadcast_to(a, (n, t, *a.shape[2:])) for name, a in arrays.items()}
    for array in arrays.values():
        mask = mask & (array >= 0) if array.ndim == 2 else mask
    for name, array in arrays.items():
        # beyond LARGEST squares overflow
        bad = ~(np.abs(array) <= LARGEST) & (mask if array.ndim == 2 else mask[..., None])
        if bad.any():
            first = [int(i) for i in np.argwhere(bad)[0]]
            problems.append(
                f"{name}: {int(bad.sum())} values are not finite (or beyond {LARGEST:g}), the first at {first}; "
                "mask these steps or remove the clips"
            )
    if not mask.any():
        problems.append("no clip has a valid step; check the mask and the missing codes")
    raise_problems(problems)
    kept = mask.any(axis=1)  # a clip without one valid step takes no part
    mask = mask[kept]
    sides = []
    for name, array in arrays.items():
        array = np.where(mask if array.ndim == 2 else mask[..., None], array[kept], 0)
        moves = np.ptp(array[mask], axis=0) > 0
        if not moves.any():
            problems.append(f"{name} is constant over all clips: it carries no information")
        sides.append(Side(array, True) if array.ndim == 2 else Side(array[..., moves], False, int((~moves).sum())))
    raise_problems(problems)
    order = _content_order(sides, mask)
    left, right = (Side(s.values[order], s.discrete, s.dropped) for s in sides)
    return left, right, mask[order]


def _ranked(name: str, array: np.ndarray, problems: list[str]) -> np.ndarray:
    """The array with a step axis: float64 [n,T,d] or int64 [n,T]."""
    if array.dtype.kind in "iub":
        array, rank = as_categories(array) if array.ndim > 1 else array.astype(np.int64), 1
    elif array.dtype.kind == "f":
        array, rank = array.astype(np.float64), 2
    else:
        problems.append(f"{name}: found dtype {array.dtype}, need floating features or integer codes")
        return array
    if array.ndim not in (rank, rank + 1) or 0 in array.shape:
        need = "[n,T,d] or [n,d]" if rank == 2 else "[n,T] or [n]"
        problems.append(f"{name}: found shape {list(array.shape)}, need {need} without empty axes")
    return array[:, None] if array.ndim == rank else array


def _content_order(sides: list[Side], mask: np.ndarray) -> np.ndarray:
    # features before codes, so that it does not matter which side is called x
    parts = (*(side.values for side in sorted(sides, key=lambda side: side.discrete)), mask)
    keys = [hashlib.blake2b(b"".join(p[i].tobytes() for p in parts), digest_size=12).digest() for i in range(len(mask))]
    return np.array(sorted(range(len(mask)), key=keys.__getitem__))


def split_clips(n: int, seed: int) -> dict[str, np.ndarray]:
    """Draw the clips that fit, those that stop the fit early, and those that are scored (see :data:`PARTS`).

    Raises:
        InformationError: a part would get fewer clips than :data:`SMALLEST` says.
    """
    edges = np.round(np.cumsum(list(PARTS.values())) * n).astype(int)[:-1]
    order = np.random.default_rng([seed, 11]).permutation(n)
    parts = {name: np.sort(rows) for name, rows in zip(PARTS, np.split(order, edges), strict=True)}
    if any(len(rows) < SMALLEST[name] for name, rows in parts.items()):
        need = max(int(np.ceil(SMALLEST[name] / share)) for name, share in PARTS.items())
        raise_problems([f"found {n} clips, too few to fit, stop and score on different ones; need about {need} clips"])
    return parts


def transform(model: Any, values: np.ndarray) -> np.ndarray:
    """Apply a fitted scikit-learn transformer to features [n,T,d]."""
    return model.transform(values.reshape(-1, values.shape[-1])).reshape(*values.shape[:2], -1)


def permute_clips(y: Side, mask: np.ndarray, seed: int) -> tuple[Side, np.ndarray]:
    """Give every clip another clip's y; the mask keeps the steps that are valid on both sides."""
    order = np.random.default_rng([seed, 977]).permutation(len(mask))
    return Side(y.values[order], y.discrete, y.dropped), mask & mask[order]


def mean_over_clips(terms: np.ndarray, mask: np.ndarray, settings: Settings, seed: int) -> dict[str, Any]:
    """Mean of terms [n,T] over valid steps, with its resamples over clips."""
    total, weight = np.where(mask, terms, 0).sum(axis=1), mask.sum(axis=1)
    counts = bootstrap_weights(len(terms), settings.bootstrap, seed)
    return {"value": float(total.sum() / weight.sum()), "replicates": (counts @ total) / (counts @ weight)}


Run = Callable[[Side, Side, np.ndarray, int], dict[str, dict[str, Any]]]


def repeat(
    kinds: dict[str, str], run: Run, x: Side, y: Side, mask: np.ndarray, settings: Settings, seeds: int = 0
) -> dict[str, Estimate]:
    """Run estimators over seeds and permuted clips, and put their results together by name.

    Args:
        kinds: what each estimator gives, by name ("upper", "lower" or "estimate").
        run: called with (x, y, mask, seed); returns for each name ``value`` and ``replicates`` (resampled values,
            or a function that draws them, which null runs never call), and optionally ``cap``, ``flags``,
            ``detail`` and ``curve``.
        seeds: how often, where that is not for the settings to say.
    """
    runs = [run(x, y, mask, settings.seed + i) for i in range(seeds or settings.seeds)]
    nulls = [run(x, *permute_clips(y, mask, settings.seed + i), settings.seed + i) for i in range(settings.nulls)]
    about = dict(dims=(x.dim, y.dim), settings=settings)
    dropped = [f"{s.dropped} constant columns of {name} were dropped" for s, name in ((x, "x"), (y, "y")) if s.dropped]
    found = {}
    for name, kind in kinds.items():
        mine = [r[name] for r in runs]
        draws = [r["replicates"]() if callable(r["replicates"]) else r["replicates"] for r in mine]
        values = tuple(float(r["value"]) for r in mine)
        mean = float(np.mean(values))
        interval = (
            percentile_interval(np.concatenate(draws), LEVEL, mean, len(mask))
            if np.isfinite(mean)
            else Interval(mean, mean, mean, LEVEL, len(mask))
        )
        found[name] = Estimate(
            name, kind, interval, values, tuple(float(r[name]["value"]) for r in nulls), **about,
            cap=min((r["cap"] for r in mine if "cap" in r), default=None),
            flags=(*dict.fromkeys(flag for r in mine for flag in r.get("flags", ())), *dropped),
            detail={key: float(np.mean([r["detail"][key] for r in mine])) for key in mine[0].get("detail", {})},
            curves=tuple(r["curve"] for r in mine if r.get("curve")),
        )  # fmt: skip
    return found
