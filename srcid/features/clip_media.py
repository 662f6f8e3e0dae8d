"""What there is to hear, see and read in a clip, or behind a code: gathered from the media references of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srcid.features.media import FILES, MediaError, mono, resolve

LEAST_SECONDS = 0.5  # of sound per step; longer recordings stretch all steps of the clip
_NEAR = 3  # words of a sentence shown on either side of an exemplar
_PAUSE = 0.2  # seconds between two sounds of a sequence
_WITHOUT = "sounds and images from its files are left out"


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
    return replace(found, problems=tuple(problems))


@dataclass(frozen=True)
class Shown:
    """One exemplar: ``kind`` as in :class:`srcid.features.media.Media`, and its content.

    Images are uint8 ``[H, W]`` or ``[H, W, 3]``, sounds mono float32 samples at ``rate`` Hz, words text with
    the words ``before`` and ``after`` them in the clip.
    """

    kind: str
    content: Any = None
    rate: int = 0
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class CardMedia:
    """What the exemplars of a code are.

    Attributes:
        shown: by modality, one :class:`Shown` for each exemplar of the card.
        problems: sentences on media that could not be read.
    """

    shown: dict[str, tuple[Shown, ...]]
    problems: tuple[str, ...] = ()

    def sequence(self, modality: str) -> tuple[np.ndarray, int] | None:
        """All sounds of a modality, with pauses between: (samples, rate in Hz); None where there are none."""
        sounds = {i: (s.rate, s.content) for i, s in enumerate(self.shown.get(modality, ())) if s.kind == "audio"}
        if not sounds:
            return None
        rate, parts = _one_rate(sounds)
        pause = np.zeros(round(_PAUSE * rate), np.float32)
        return np.concatenate([part for samples in parts.values() for part in (samples, pause)][:-1]), rate


class ClipStep(NamedTuple):
    """A step of a clip in one modality, and the reference to what is there or nothing."""

    modality: str
    clip: int
    step: int
    media: str


def clip_step(table: Any, modality: str, clip: int, step: int) -> ClipStep:
    """Return a step with what a CodeTable says is there."""
    references = (table.media or {}).get(modality)
    return ClipStep(modality, clip, step, "" if references is None else str(references[clip, step]))


def card_media(exemplars: Mapping[str, Sequence[Any]], table: Any) -> CardMedia:
    """Read what exemplars of a code are, or other steps of clips.

    Files are looked for where the table's store says. What is gone, the store included, is named in ``problems``, and
    the exemplars are then shown without.

    Args:
        exemplars: by modality, :class:`ClipStep` or what has its fields, such as the exemplars and the near misses of a
            :class:`srcid.codebook.cards.CodeCard`.
        table: their CodeTable.
    """
    root, lost = _media_root(table, exemplars)
    shown: dict[str, tuple[Shown, ...]] = {}
    problems = [lost] if lost else []
    for m, several in exemplars.items():
        found = []
        for e in several:
            seen = Shown("none")
            if root is not None or e.media.partition(":")[0] not in FILES:
                try:
                    seen = _shown(resolve(e.media, root or "."), table, e)
                except (MediaError, OSError) as error:
                    problems.append(f"{m}, clip {e.clip}, step {e.step}: {error}")
            found.append(seen)
        shown[m] = tuple(found)
    return CardMedia(shown, tuple(problems))


def _media_root(table: Any, exemplars: Mapping[str, Sequence[Any]]) -> tuple[Path | None, str]:
    """Return the folder that files are looked for in, and what to say if there is none but one is needed."""
    from srcid.features import FeatureStore, StoreError

    if not any(e.media.startswith(FILES) for several in exemplars.values() for e in several):
        return None, ""
    try:
        store = FeatureStore.open(table.store_path, verify=False)
    except (StoreError, OSError):
        return None, f"the store of this run is no longer at {table.store_path}: {_WITHOUT}"
    if store.checksum != table.checksum:
        return None, f"{table.store_path} now holds other data than this run's: {_WITHOUT}"
    return store.media_root, ""


def _shown(media: Any, table: Any, exemplar: Any) -> Shown:
    if media.kind == "audio":
        rate, samples = media.content
        samples = mono(samples, rate, rate)
        if not len(samples):
            raise MediaError(f"'{exemplar.media}' is empty")
        return Shown("audio", samples, rate=rate)
    if media.kind == "word":
        words = [str(reference).partition(":")[2] for reference in table.media[exemplar.modality][exemplar.clip]]
        before, after = words[: exemplar.step], words[exemplar.step + 1 :]
        cut = ("… " if len(before) > _NEAR else ""), (" …" if len(after) > _NEAR else "")
        return Shown(
            "word",
            media.content,
            before=cut[0] + " ".join(before[-_NEAR:]),
            after=" ".join(after[:_NEAR]) + cut[1],
        )
    return Shown(media.kind, media.content)


def _grey(image: np.ndarray) -> np.ndarray:
    """Return the brightness of an image, colour or not."""
    return image.mean(axis=-1) if image.ndim == 3 else image


def _sequence(recordings: dict[int, tuple[int, np.ndarray]], steps: int) -> tuple[np.ndarray, int]:
    """Lay the recordings of a clip's steps one after the other, each in a slot of equal length."""
    rate, parts = _one_rate(recordings)
    slot = max(int(LEAST_SECONDS * rate), *(len(samples) for samples in parts.values()))
    sound = np.zeros(steps * slot, np.float32)
    for step, samples in parts.items():
        sound[step * slot : step * slot + len(samples)] = samples
    return sound, rate


def _one_rate(recordings: dict[int, tuple[int, np.ndarray]]) -> tuple[int, dict[int, np.ndarray]]:
    """Return the highest rate among recordings, and all of them in mono at that rate."""
    rate = max(rate for rate, _ in recordings.values())
    return rate, {step: mono(samples, own, rate) for step, (own, samples) in recordings.items()}
