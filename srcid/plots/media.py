"""What there is to hear, see and read in a whole clip, gathered from the media references of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEAST_SECONDS = 0.5  # of sound per step; longer recordings stretch all steps of the clip


@dataclass(frozen=True)
class ClipMedia:
    """Media of one clip; modalities without any are left out.

    Attributes:
        pictures: modality -> one grey image ``[height, width]``, or None, per step.
        sounds: modality -> (samples ``[n]`` float32, rate in Hz): the recordings of all steps, evenly spaced.
        words: modality -> one word, or "", per step.
        problems: sentences on media that could not be read.
    """

    pictures: dict[str, list[np.ndarray | None]] = field(default_factory=dict)
    sounds: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def clip_media(store: Any, clip: int) -> ClipMedia:
    """Read the media of row ``clip`` of a feature store; what is gone or damaged is named in ``problems``."""
    from srcid.features.media import MediaError, resolve

    found, problems = ClipMedia(), []
    for m, references in store.media.items():
        shown: dict[int, Any] = {}
        kind = "none"
        for step, reference in enumerate(references[clip]):
            try:
                media = resolve(str(reference), store.media_root)
            except (MediaError, OSError) as error:
                problems.append(f"{m}, step {step}: {error}")
                continue
            if media.kind != "none":
                kind, shown[step] = media.kind, media.content
        if kind == "image":
            found.pictures[m] = [_grey(shown[t]) if t in shown else None for t in range(store.steps)]
        elif kind == "word":
            found.words[m] = [shown.get(t, "") for t in range(store.steps)]
        elif kind == "audio":
            found.sounds[m] = _sequence(shown, store.steps)
    return ClipMedia(found.pictures, found.sounds, found.words, tuple(problems))


def _grey(image: np.ndarray) -> np.ndarray:
    """Return the brightness of an image, colour or not."""
    return image.mean(axis=-1) if image.ndim == 3 else image


def _sequence(recordings: dict[int, tuple[int, np.ndarray]], steps: int) -> tuple[np.ndarray, int]:
    """Lay the recordings of a clip's steps one after the other, each in a slot of equal length."""
    rate = max(rate for rate, _ in recordings.values())
    mono = {}
    for step, (own, samples) in recordings.items():
        samples = samples.mean(axis=1) if samples.ndim == 2 else samples
        if own != rate:  # rates differ within a clip: stretch by interpolation, good enough to listen to
            places = np.arange(0, len(samples), own / rate)
            samples = np.interp(places, np.arange(len(samples)), samples)
        mono[step] = samples
    slot = max(int(LEAST_SECONDS * rate), *(len(samples) for samples in mono.values()))
    sound = np.zeros(steps * slot, np.float32)
    for step, samples in mono.items():
        sound[step * slot : step * slot + len(samples)] = samples
    return sound, rate
