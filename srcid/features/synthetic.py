"""Made-up clips whose true factors are known, so that models and diagnostics can be checked against them.

Generative model, for modality m at clip i and step t, in a latent space of a few dimensions::

    z = coarse * P_m[class] + fine * Q_m[shade] + nuisance * R_m[n_i] + noise * e,      e ~ N(0, 1)
    x = (z + nonlinearity * tanh(z B_m)) A_m

The class (coarse shared factor) and the shade (finer shared factor, independent of the class and weaker) hold
while an event lasts and are absent on background; n_i is private to the modality and holds for the whole
clip. P, Q, R are orthonormal patterns, B and A fixed random mixing matrices, all drawn per modality from the
seed. On a grid an event sits in one cell, drawn per event, and the nuisance in another, drawn per clip; their
patterns are scaled by the square root of the number of cells, so that they are as plain in the mean over the
grid as in a vector.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from pydantic import Field

from srcid.features.checks import SPLITS
from srcid.features.product import product
from srcid.features.store import FeatureStore
from srcid.params import Section

_CHUNK = 64  # clips made at a time, each chunk from its own random stream: bounded memory, the same values always


def shapes_usable(shapes: dict[str, tuple[int, ...]]) -> str:
    """Rule of parameters: every modality is a vector or a grid."""
    return "; ".join(
        f"shape of {m} is {shape}, need (F,) or (H, W, F) with positive numbers"
        for m, shape in shapes.items()
        if len(shape) not in (1, 3) or min(shape, default=0) < 1
    )


def event_fits(shortest: int, steps: int) -> str:
    """Rule of parameters: a clip is long enough for an event."""
    return f"shortest={shortest} exceeds steps={steps}" if shortest > steps else ""


class SyntheticParams(Section):
    """What to generate; strengths are in standard deviations of unit noise."""

    shapes: dict[str, tuple[int, ...]] = Field(
        {"audio": (64,), "video": (4, 4, 32), "text": (64,)},
        min_length=2,
        description="modalities and their shapes, (F,) or (H, W, F)",
    )
    train: int = Field(1600, ge=1, description="training clips")
    val: int = Field(400, ge=1, description="validation clips")
    test: int = Field(400, ge=1, description="test clips")
    steps: int = Field(10, ge=1, description="time steps T per clip")
    classes: int = Field(8, ge=1, description="event classes, the coarse shared factor")
    shades: int = Field(4, ge=1, description="values of the finer shared factor, independent of the class")
    nuisances: int = Field(4, ge=1, description="values of each modality's private factor")
    events: int = Field(2, ge=1, description="most events per clip, at most one at a time; fewer where steps are short")
    two_share: float = Field(0.5, ge=0, le=1, description="share of clips with more than one event")
    shortest: int = Field(2, ge=1, description="fewest steps of an event")
    coarse: float = Field(2.9, ge=0, description="strength of the event class")
    fine: float = Field(1.3, ge=0, description="strength of the finer factor")
    nuisance: float = Field(2.4, ge=0, description="strength of the private factors")
    noise: float = Field(1.0, ge=0, description="standard deviation of the latent noise")
    nonlinearity: float = Field(0.5, ge=0, description="weight of the tanh part of the mixing")
    latent: int = Field(32, ge=1, description="latent dimensions per modality (and per cell of a grid)")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of patterns, factors and noise")

    rules = (shapes_usable, event_fits)


def make_synthetic(path: str | Path, params: SyntheticParams | None = None) -> FeatureStore:
    """Write the clips of ``params`` to a new store at ``path``, with all true factors as labels.

    Labels: ``event`` bool ``[N,T,classes]``; ``fine`` ``[N,T]`` (-1 on background); ``nuisance_<m>`` ``[N]``,
    visible in m only. The same parameters give the same bytes.

    Raises:
        StoreError: the target exists or a modality cannot be called so.
    """
    params = params or SyntheticParams()
    clips = params.train + params.val + params.test
    rng = _stream(params, "factors")
    slots = event_slots(
        rng, clips, params.steps, most=params.events, many_share=params.two_share, shortest=params.shortest
    )
    classes = distinct(rng, clips, params.events, params.classes)
    shades = rng.integers(params.shades, size=(clips, params.events))
    private = {m: rng.integers(params.nuisances, size=clips) for m in params.shapes}

    with FeatureStore.writer(path, params.shapes, params.steps) as writer:
        worlds = {m: _Modality(params, m) for m in params.shapes}
        for start in range(0, clips, _CHUNK):
            part = slice(start, min(start + _CHUNK, clips))
            writer.append(
                {
                    m: world.render(start, slots[part], classes[part], shades[part], private[m][part])
                    for m, world in worlds.items()
                }
            )
        event = multi_hot(slots, classes, params.classes)
        return writer.finish(
            labels={
                "event": event,
                "fine": np.where(slots >= 0, np.take_along_axis(shades, np.maximum(slots, 0), axis=1), -1),
                **{f"nuisance_{m}": values for m, values in private.items()},
            },
            classes={
                "event": [f"event {n}" for n in range(params.classes)],
                "fine": [f"shade {n}" for n in range(params.shades)],
                **{f"nuisance_{m}": [f"{m} {n}" for n in range(params.nuisances)] for m in params.shapes},
            },
            visible_in={f"nuisance_{m}": (m,) for m in params.shapes},
            splits=consecutive_splits(params.train, params.val, params.test),
            provenance={
                "name": "synthetic",
                "description": "made-up clips with known shared and private factors",
                "params": params.model_dump(mode="json"),
            },
        )


def event_slots(
    rng: np.random.Generator, clips: int, steps: int, *, most: int, many_share: float, shortest: int
) -> np.ndarray:
    """Draw when events happen: int ``[clips, steps]``, the number of the running event or -1 on background.

    A clip has one event or, with probability ``many_share``, 2 to ``most`` of them (as many as fit), each of
    at least ``shortest`` steps, never two at a time. Lengths and gaps are uniform over what fits.
    """
    fit = min(most, steps // shortest)
    slots = np.full((clips, steps), -1)
    for clip in range(clips):
        count = int(rng.integers(2, fit + 1)) if fit > 1 and rng.random() < many_share else 1
        # share out the spare steps over `count` events and `count + 1` gaps, by random cuts
        spare = steps - count * shortest
        cuts = np.sort(rng.integers(0, spare + 1, 2 * count))
        extra = np.diff(cuts, prepend=0)
        position = 0
        for number in range(count):
            onset = position + extra[2 * number]
            position = onset + shortest + extra[2 * number + 1]
            slots[clip, onset:position] = number
    return slots


def distinct(rng: np.random.Generator, clips: int, columns: int, values: int) -> np.ndarray:
    """Draw ``[clips, columns]`` values, different within a clip for as long as there are enough values."""
    order = np.argsort(rng.random((clips, values)), axis=1)
    return order[:, np.arange(columns) % values]


def multi_hot(slots: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Turn slots ``[N,T]`` and the class per slot ``[N,E]`` into bool ``[N,T,count]``."""
    per_step = np.where(slots >= 0, np.take_along_axis(classes, np.maximum(slots, 0), axis=1), -1)
    return per_step[..., None] == np.arange(count)


def consecutive_splits(train: int, val: int, test: int) -> dict[str, np.ndarray]:
    """Rows of ``train``, ``val`` and ``test``, one after the other."""
    parts = np.split(np.arange(train + val + test), [train, train + val])
    return dict(zip(SPLITS, parts, strict=True))


class _Modality:
    """One modality's fixed patterns and mixing."""

    def __init__(self, params: SyntheticParams, name: str):
        self.params, self.name, self.shape = params, name, params.shapes[name]
        rng = _stream(params, name)
        counts = [params.classes, params.shades, params.nuisances]
        patterns = rng.standard_normal((sum(counts), params.latent))
        if sum(counts) <= params.latent:
            patterns = np.linalg.qr(patterns.T)[0].T
        patterns /= np.linalg.norm(patterns, axis=1, keepdims=True)
        strength = np.repeat([params.coarse, params.fine, params.nuisance], counts)[:, None]
        scaled = (patterns * strength * np.sqrt(self.cells)).astype(np.float32)
        self.coarse, self.fine, self.nuisance = np.split(scaled, np.cumsum(counts)[:-1])
        scale = np.sqrt(params.latent)
        self.bend = (rng.standard_normal((params.latent, params.latent)) / scale).astype(np.float32)
        self.mix = (rng.standard_normal((params.latent, self.shape[-1])) / scale).astype(np.float32)

    @property
    def cells(self) -> int:
        return int(np.prod(self.shape[:-1]))

    def render(
        self, start: int, slots: np.ndarray, classes: np.ndarray, shades: np.ndarray, private: np.ndarray
    ) -> np.ndarray:
        """Features ``[n, T, *shape]`` of the clips from row ``start`` on."""
        clips, steps = slots.shape
        rng = _stream(self.params, self.name, start + 1)
        latent = rng.standard_normal((clips, steps, self.cells, self.params.latent), np.float32)
        latent *= self.params.noise
        event_cell = rng.integers(self.cells, size=classes.shape)
        own_cell = rng.integers(self.cells, size=clips)
        clip, step = np.nonzero(slots >= 0)
        slot = slots[clip, step]
        shared = self.coarse[classes[clip, slot]] + self.fine[shades[clip, slot]]
        latent[clip, step, event_cell[clip, slot]] += shared
        latent[np.arange(clips), :, own_cell] += self.nuisance[private][:, None]
        bent = latent + self.params.nonlinearity * np.tanh(product(latent, self.bend))
        return product(bent, self.mix).reshape(clips, steps, *self.shape)


def _stream(params: SyntheticParams, name: str, number: int = 0) -> np.random.Generator:
    return np.random.default_rng([params.seed, zlib.crc32(name.encode()), number])
