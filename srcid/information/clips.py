"""Clips as the unit of measurement: checks, an order no caller can influence, three-way splits, scaling.

The steps of a clip resemble each other, so whatever is fitted, stopped and scored is divided by *clips*.
Splits are drawn after the clips were put in the order of their content: shuffling the input clips (both sides
together) changes no result.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from srcid.problems import ProblemsError

SMALLEST = {"fit": 16, "stop": 8, "score": 12}  # clips below which a part says nothing


class InformationError(ProblemsError):
    """Inputs from which no information can be estimated; the message lists every problem at once."""


def complain(problems: list[str]) -> None:
    """Raise :class:`InformationError` if there are problems."""
    if problems:
        raise InformationError("information cannot be estimated:", problems)


@dataclass(frozen=True)
class Side:
    """One of the two variables: ``values`` is float64 [n,T,d], or int64 [n,T] where it is ``discrete``."""

    values: np.ndarray
    discrete: bool
    dropped: tuple[int, ...] = ()

    @property
    def dim(self) -> int:
        """Columns of features, or how many categories occur."""
        return len(np.unique(self.values)) if self.discrete else self.values.shape[-1]


def as_categories(labels) -> np.ndarray:
    """Turn labels into one integer a clip ([n]) or a step ([n,T]); negative means "not known".

    Integers pass unchanged. Booleans are multi-label with the classes on the last axis: each combination that
    occurs becomes a category (no class at all is one too).
    """
    labels = np.asarray(labels)
    if labels.dtype != bool:
        return labels.astype(np.int64)
    flat = labels.reshape(-1, labels.shape[-1])
    return np.unique(flat, axis=0, return_inverse=True)[1].reshape(labels.shape[:-1]).astype(np.int64)


def read_pair(x, y, mask=None, constant: str = "error") -> tuple[Side, Side, np.ndarray]:
    """Check two variables of the same clips and return them as sides with the mask bool [n,T] of valid steps.

    Floating arrays are features [n,T,d], or [n,d] for one value a clip. Integer arrays are codes or
    categories [n,T] or [n], negative where missing; boolean ones are multi-label. What has one value a clip
    is repeated over the steps of the other. The clips come back in the order of their content.

    Raises:
        InformationError: different numbers of clips or steps, wrong rank, NaN or infinite values, constant
            columns (unless ``constant="drop"`` and some column varies), a mask of another shape; all reported
            at once.
    """
    problems: list[str] = []
    raw = {"x": np.asarray(x), "y": np.asarray(y)}
    arrays: dict[str, np.ndarray] = {}
    for name, array in raw.items():
        if array.dtype.kind in "iub":
            array = as_categories(array) if array.dtype != bool or array.ndim > 1 else array.astype(np.int64)
            ranks = (1, 2)
        elif array.dtype.kind == "f":
            array, ranks = array.astype(np.float64), (2, 3)
        else:
            problems.append(f"{name}: found dtype {array.dtype}, need floating features or integer codes")
            continue
        if array.ndim not in ranks or 0 in array.shape:
            need = "[n,T,d] or [n,d]" if ranks == (2, 3) else "[n,T] or [n]"
            problems.append(f"{name}: found shape {list(array.shape)}, need {need} without empty axes")
            continue
        arrays[name] = array[:, None] if array.ndim == min(ranks) else array
    complain(problems)

    clips = {name: len(a) for name, a in arrays.items()}
    steps = {name: a.shape[1] for name, a in arrays.items()}
    if clips["x"] != clips["y"]:
        problems.append(f"x has {clips['x']} clips and y {clips['y']}; row i of both must be the same clip")
    if steps["x"] != steps["y"] and 1 not in steps.values():
        problems.append(f"x has {steps['x']} steps and y {steps['y']}; need equal steps or one value a clip")
    complain(problems)
    n, t = clips["x"], max(steps.values())
    if mask is None:
        mask = np.ones((n, t), dtype=bool)
    mask = np.asarray(mask)
    if mask.shape != (n, t) or mask.dtype != bool:
        complain([f"mask: found {mask.dtype} {list(mask.shape)}, need bool [{n}, {t}]"])
    mask = mask.copy()
    for name, array in arrays.items():
        array = np.broadcast_to(array, (n, t, *array.shape[2:]))
        arrays[name] = np.ascontiguousarray(array)
        if array.dtype.kind == "i":
            mask &= array >= 0
    for name, array in arrays.items():
        bad = ~np.isfinite(array) & (mask if array.ndim == 2 else mask[..., None])
        if bad.any():
            problems.append(
                f"{name}: {int(bad.sum())} values are not finite, the first at "
                f"{[int(i) for i in np.argwhere(bad)[0]]}; mask these steps or remove the clips"
            )
    complain(problems)
    keep = mask.any(axis=1)  # a clip without one valid step takes no part
    if not keep.any():
        complain(["no clip has a valid step; check the mask and the missing codes"])
    mask = mask[keep]
    arrays = {name: np.where(mask if a.ndim == 2 else mask[..., None], a[keep], 0) for name, a in arrays.items()}

    sides = []
    for name, array in arrays.items():
        valid = array[mask]
        flat = np.ptp(valid, axis=0) == 0 if valid.ndim > 1 else np.array([np.ptp(valid) == 0])
        if flat.all():
            problems.append(
                f"{name} is constant over all clips: it carries no information, there is nothing to estimate"
            )
        elif flat.any() and constant == "error":
            columns = np.flatnonzero(flat)
            problems.append(
                f"{name}: {len(columns)} of {len(flat)} columns are constant ({_some(columns)}); "
                "remove them, or pass Settings(constant='drop')"
            )
        dropped = () if valid.ndim == 1 else tuple(int(c) for c in np.flatnonzero(flat))
        sides.append(Side(array[..., ~flat] if dropped and not flat.all() else array, valid.ndim == 1, dropped))
    complain(problems)
    order = _content_order(sides, mask)
    sides = [Side(s.values[order], s.discrete, s.dropped) for s in sides]
    return sides[0], sides[1], mask[order]


def split_clips(n: int, fractions: tuple[float, float, float], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the clips that fit, those that stop the fit early, and those that are scored.

    Raises:
        InformationError: a part would get fewer clips than :data:`SMALLEST` says.
    """
    bounds = np.round(np.cumsum((0.0, *fractions)) * n).astype(int)
    parts = dict(zip(SMALLEST, np.split(rng.permutation(n), bounds[1:-1]), strict=True))
    short = [f"{name} {len(rows)} of {SMALLEST[name]}" for name, rows in parts.items() if len(rows) < SMALLEST[name]]
    if short:
        need = int(np.ceil(max(SMALLEST[name] / f for name, f in zip(SMALLEST, fractions, strict=True))))
        complain(
            [
                f"found {n} clips, too few for the split {fractions} (too small: {', '.join(short)}); "
                f"need about {need} clips"
            ]
        )
    return {name: np.sort(rows) for name, rows in parts.items()}


@dataclass(frozen=True)
class Scaler:
    """Standardisation, and optionally whitened principal components, as learnt from one set of clips.

    Mutual information does not change under standardisation; it can only shrink under a projection:
    ``explained`` is the share of variance that the kept components hold (1 without projection).
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray | None = None  # [d, components], columns scaled to unit variance
    explained: float = 1.0

    @classmethod
    def learn(cls, values: np.ndarray, mask: np.ndarray, components: int | None = None) -> Scaler:
        """Learn from ``values`` [n,T,d] at the steps where ``mask`` [n,T] holds."""
        rows = values[mask]
        scale = rows.std(axis=0)
        # a column may rest in these clips and move in others: leave its unit alone
        mean, scale = rows.mean(axis=0), np.where(scale > 0, scale, 1.0)
        if components is None:
            return cls(mean, scale)
        from sklearn.decomposition import PCA

        pca = PCA(min(components, *rows.shape), svd_solver="full").fit((rows - mean) / scale)
        axes = pca.components_.T / np.sqrt(np.maximum(pca.explained_variance_, 1e-12))
        return cls(mean, scale, axes, float(pca.explained_variance_ratio_.sum()))

    @property
    def width(self) -> int:
        return len(self.mean)

    def apply(self, values: np.ndarray, name: str = "features") -> np.ndarray:
        """Scale ``values`` [...,d]; raises :class:`InformationError` where d is not the width that was
        learnt.
        """
        if values.shape[-1] != self.width:
            complain(
                [
                    f"{name}: found {values.shape[-1]} columns, the estimator was fitted on {self.width}; "
                    "evaluate it on the same features"
                ]
            )
        scaled = (values - self.mean) / self.scale
        return scaled if self.axes is None else scaled @ self.axes


def _content_order(sides: list[Side], mask: np.ndarray) -> np.ndarray:
    # features before codes, so that it does not matter which side is called x
    parts = (*(side.values for side in sorted(sides, key=lambda side: side.discrete)), mask)
    keys = [hashlib.blake2b(b"".join(p[i].tobytes() for p in parts), digest_size=12).digest() for i in range(len(mask))]
    return np.array(sorted(range(len(mask)), key=keys.__getitem__))


def _some(numbers, most: int = 5) -> str:
    shown = ", ".join(str(int(i)) for i in numbers[:most])
    return shown + (", ..." if len(numbers) > most else "")
