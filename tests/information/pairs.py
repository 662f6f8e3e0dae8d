"""Codes and clusters of known information, for tests."""

from __future__ import annotations

import numpy as np


def channel_pairs(clips, classes, error, steps=1, seed=0):
    """Two uniform codes [clips, steps]: y is x, or with probability ``error`` another code."""
    rng = np.random.default_rng([seed, classes, clips])
    x = rng.integers(classes, size=(clips, steps))
    wrong = rng.random(x.shape) < error
    return x, np.where(wrong, (x + rng.integers(1, classes, x.shape)) % classes, x)


def cluster_pairs(clips, classes, error, steps=1, seed=0):
    """Features [clips, steps, classes] that name one end of such a channel plainly, and the code at the other end."""
    seen, category = channel_pairs(clips, classes, error, steps, seed)
    noise = np.random.default_rng([seed, classes, clips, 1]).standard_normal((clips, steps, classes))
    return 12 * np.eye(classes)[seen] + noise, category
