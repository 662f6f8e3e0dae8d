"""The synthetic voices that come with the package: the ten digits, each spoken by 135 voices of espeak-ng.

``data/make_voices.py`` made them. A voice is a timbre (a voice variant of espeak-ng) with an accent, a pitch and a
speed; timbres are of three kinds: ``female``, ``male``, and ``Klatt``, a male voice by another synthesiser. A timbre
belongs to one split, so that no voice and nothing like it is in two.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

RATE = 8000  # Hz
_FILE = Path(__file__).with_name("voices.npz")


class Voices(NamedTuple):
    """All recordings; number ``10 * voice + digit`` is ``digit`` said by ``voice``.

    Attributes:
        samples: int8 mu-law of all recordings, one after the other.
        stops: where each recording ends in ``samples``.
        names, kinds, splits: per voice its accent and timbre, its kind, and ``train``, ``val`` or ``test``.
    """

    samples: np.ndarray
    stops: np.ndarray
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    splits: tuple[str, ...]


@cache
def voices() -> Voices:
    """Read the voices; they stay in memory (4 MB)."""
    with np.load(_FILE) as data:
        names = tuple(f"{accent} {timbre}" for accent, timbre in zip(data["accent"], data["timbre"], strict=True))
        kinds, splits = tuple(data["kind"].tolist()), tuple(data["split"].tolist())
        return Voices(data["samples"], data["stops"], names, kinds, splits)


@cache
def voices_fingerprint() -> str:
    """SHA-256 of the file of voices."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


def spoken(number: int) -> np.ndarray:
    """Return the samples of a recording, float32 in -1 to 1, at :data:`RATE`.

    Raises:
        IndexError: there is no recording of that number.
    """
    found = voices()
    if not 0 <= number < len(found.stops):
        raise IndexError(f"found recording {number}, need 0 to {len(found.stops) - 1}")
    start = found.stops[number - 1] if number else 0
    # mu-law (ITU-T G.711, mu = 255), undone
    compressed = found.samples[start : found.stops[number]].astype(np.float32) / 127
    return np.sign(compressed) * (np.exp2(8 * np.abs(compressed)) - 1) / 255
