"""Small stores and parameters that the tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srcid.features import FeatureStore
from srcid.params import Params, resolve

TINY = dict(
    dim=16, heads=2, specific_dim=12, pooled_dim=12, grid_channels=(8, 12), club_hidden=8, codebook_size=12,
    encoder_depth=1, epochs=4, batch_size=8, checkpoint_every=5, log_every=2, threads=1, device="cpu", lr=1e-3,
    probe_seeds=2, probe_epochs=3,
)  # fmt: skip


def tiny_params(**changes) -> Params:
    """Parameters with which a run takes about a second."""
    return resolve("demo", **{**TINY, **changes})


def tiny_store(path: Path, clips: int = 40, steps: int = 6, grid: bool = True, seed: int = 0, **extra) -> FeatureStore:
    """A store of three modalities (one of them a grid) in which three event classes shape all features."""
    draw = np.random.default_rng(seed)
    event = np.zeros((clips, steps, 3), bool)
    for clip, kind in enumerate(draw.integers(3, size=clips)):
        event[clip, 1 : draw.integers(3, steps + 1), kind] = True
    shapes = {"first": (10,), "second": (5, 5, 6) if grid else (8,), "third": (7,)}
    features = {}
    for m, shape in shapes.items():
        pattern = draw.normal(size=(3, *shape))
        features[m] = (np.tensordot(event, pattern, 1) + 0.3 * draw.normal(size=(clips, steps, *shape))).astype("f4")
    cut = clips // 5
    splits = {
        "train": np.arange(cut * 3),
        "val": np.arange(cut * 3, cut * 4),
        "test": np.arange(cut * 4, clips),
    }
    return FeatureStore.create(
        path,
        features=features,
        labels={"event": event},
        classes={"event": ["bark", "horn", "rain"]},
        splits=splits,
        **extra,
    )
