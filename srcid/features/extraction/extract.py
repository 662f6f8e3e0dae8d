"""`extract`: from raw media to a feature store, clip by clip.

What the folder holds is listed first, and what is wrong with it is said before a file is opened. Then each clip is
read, cut into steps and given to the front ends, one clip in memory at a time. The store appears whole at the end, or
not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from srcid.features.annotations import annotate
from srcid.features.checks import StoreError, check_target
from srcid.features.extraction.listing import MODALITIES, Event, Listed, Listing, listing
from srcid.features.extraction.reading import (
    ReadError,
    missing_readers,
    read_frames,
    read_sound,
    read_words,
    words_of,
)
from srcid.features.front_ends import FrontEnd, front_end
from srcid.features.published.archives import files_below
from srcid.features.store import FeatureStore
from srcid.features.writer import StoreWriter, answers, keep_request, may_answer, request_of

MEDIA = "clips"
"""Folder in the store of what can be heard and seen of its clips: references to it hold wherever the store lies."""
_PIXELS = 96  # of the longer side of a kept picture


@dataclass(frozen=True)
class Extracted:
    """What :func:`extract` leaves: the store, why clips were left out of it, by name, and notes on the folder."""

    store: FeatureStore
    left_out: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """How a clip is cut: ``steps`` steps of ``seconds`` each."""

    steps: int
    seconds: float

    def __post_init__(self) -> None:
        problems = []
        if not 1 <= self.steps <= 10_000:
            problems.append(f"found {self.steps} steps, need 1 to 10,000")
        if not 0.1 <= self.seconds <= 3600:
            problems.append(f"found steps of {self.seconds} s, need 0.1 to 3,600 s")
        StoreError.check("clips cannot be cut so:", problems)

    def covered(self, seconds: float) -> int:
        """Number of steps of which at least half lies in the first ``seconds``."""
        return int(min(self.steps, seconds / self.seconds + 0.5 + 1e-9))


@dataclass
class Clip:
    """One clip as read: by modality its raw steps as front ends take them, and what is kept to be heard and seen."""

    steps: dict[str, Any] = field(default_factory=dict)
    samples: np.ndarray | None = None
    pictures: list[Any] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


def extract(
    source: str | Path,
    path: str | Path,
    *,
    clip_list: str | Path | None = None,
    steps: int = 10,
    seconds: float = 1.0,
    front_ends: Mapping[str, str] | None = None,
    keep_media: bool = True,
    strict: bool = False,
    progress: TextIO | None = None,
) -> Extracted:
    """Make a feature store at ``path`` of the media in ``source``.

    Labels become the label ``event``: at each step the classes that hold for at least half of it, and those of events
    that are shorter than that at the step they fall into most. Clips without a label are unlabelled, not background.

    Args:
        source, clip_list: see :func:`srcid.features.extraction.listing.listing`.
        steps, seconds: each clip is cut into ``steps`` steps of ``seconds``; what is longer is cut off, the missing
            steps of what is shorter are masked. Of a sentence, each word is a step.
        front_ends: modality -> name of its front end (:func:`srcid.features.front_ends.front_end`), or ``none`` to
            leave the modality out.
        keep_media: keep sound (16 bits) and small pictures of each step in the store, to be heard and seen later.
        strict: end at the first file that cannot be read, instead of leaving its clip out.
        progress: where the progress bar goes; standard error by default.

    Returns:
        The store, and what to know of it. A store that the same call made of the same files is returned as it is.

    Raises:
        StoreError: a folder, list or front end that cannot be used, no clip or no modality left; nothing is kept then.
    """
    source, path, cut = Path(source), Path(path), Cut(steps, seconds)
    heading = f"cannot make a feature store at {path} of {source}:"
    chosen = dict(front_ends or {})
    options = dict(source=source, list=clip_list, cut=cut, media=keep_media, strict=strict)
    StoreError.check(heading, [] if may_answer(path) else check_target(path))
    request = request_of(files_below(source), path, **options, **{f"front end {m}": name for m, name in chosen.items()})
    if answers(path, request):
        made = (store := FeatureStore.open(path)).provenance
        if all(front_end(m, chosen.get(m, "")).facts() == facts for m, facts in made["front_ends"].items()):
            return Extracted(store, made["left_out"], tuple(made["notes"]))
    StoreError.check(heading, check_target(path))
    found = listing(source, Path(clip_list) if clip_list else None)
    ends = _front_ends(found, chosen, heading)
    shapes = {m: end.shape(m, seconds) for m, end in ends.items()}
    _, wrong = annotate(list(ends), len(found.clips), steps, **_annotations(found.clips, found.classes, cut))
    StoreError.check(heading, wrong)  # before anything is read, rather than at the end
    late = sum(not _held(event, cut).any() for clip in found.clips for event in clip.events)
    notes = (*found.notes, *([f"{late} events begin after the last step and are not seen"] if late else []))
    left_out: dict[str, str] = {}
    kept: list[Listed] = []
    masks: dict[str, list[np.ndarray]] = {m: [] for m in ends}
    media: dict[str, list[list[str]]] = {m: [] for m in ends}
    with FeatureStore.writer(path, shapes, steps) as writer:
        for listed in tqdm(found.clips, unit="clip", file=progress or sys.stderr, mininterval=1):
            try:
                clip = _read(listed, ends, cut)
            except ReadError as error:
                left_out[listed.name] = str(error)
                if strict:
                    raise StoreError(heading, [f"clip {listed.name}: {error}"]) from None
                continue
            batch = {m: np.zeros((1, steps, *shape), np.float32) for m, shape in shapes.items()}
            for m, raw in clip.steps.items():
                batch[m][0, : len(raw)] = ends[m](raw)
            writer.append(batch)
            for m in ends:
                masks[m].append(np.arange(steps) < len(clip.steps.get(m, ())))
            for m, references in _keep(clip, ends, cut, writer, len(kept), keep_media).items():
                media[m].append(references)
            kept.append(listed)
        reasons = [f"{name}: {why}" for name, why in left_out.items()]
        if not kept:
            raise StoreError(heading, ["none of the clips can be used", *reasons[:10]])
        never = [m for m, mask in masks.items() if not np.any(mask)]
        StoreError.check(heading, [f"{m}: no clip has any; leave it out by --{m} none" for m in never])
        keep_request(writer.folder, request)
        store = writer.finish(
            **_annotations(kept, found.classes, cut),
            masks={m: np.stack(mask) for m, mask in masks.items() if not np.all(mask)},
            media={m: np.array(rows) for m, rows in media.items() if any(map(any, rows))},
            provenance={
                "name": source.resolve().name,
                "description": f"{len(kept)} clips, cut into {steps} steps of {seconds:g} s",
                "seconds": seconds,
                "front_ends": {m: end.facts() for m, end in ends.items()},
                "notes": list(notes),
                "left_out": left_out,
            },
        )
    return Extracted(store, left_out, notes)


def _front_ends(found: Listing, names: dict[str, str], heading: str) -> dict[str, FrontEnd]:
    there = {m for clip in found.clips for m in clip.modalities}
    problems = [f"found a front end for {m}, need one of {', '.join(MODALITIES)}" for m in set(names) - set(MODALITIES)]
    used = [m for m in MODALITIES if m in there and names.get(m) != "none"]
    if len(used) < 2:
        problems.append(
            f"found {' and '.join(used) or 'no modality'} only, need two or more of {', '.join(MODALITIES)}: captions "
            "may stand in a .txt beside each file, or in a column of the list"
        )
    problems += missing_readers({clip.files[m] for clip in found.clips for m in used if m in clip.files})
    StoreError.check(heading, problems)
    return {m: front_end(m, names.get(m, "")) for m in used}


def _read(listed: Listed, ends: Mapping[str, FrontEnd], cut: Cut) -> Clip:
    """Read a clip and cut it into steps; modalities that it lacks are left out.

    Raises:
        ReadError: one of its files cannot be read, or nothing of it is as long as half a step.
    """
    clip, length = Clip(), cut.steps * cut.seconds
    if "audio" in ends and "audio" in listed.files:
        rate = ends["audio"].rate
        samples = read_sound(listed.files["audio"], rate, length)
        if samples is not None and (count := cut.covered(len(samples) / rate)):
            each = round(rate * cut.seconds)
            clip.samples = samples
            whole = np.pad(samples[: count * each], (0, max(0, count * each - len(samples))))
            clip.steps["audio"] = whole.reshape(count, each)
    if "video" in ends and "video" in listed.files:
        frames = ends["video"].frames
        times = (np.arange(cut.steps * frames) + 0.5) / frames * cut.seconds
        pictures, lasts = read_frames(listed.files["video"], times, max(ends["video"].size, _PIXELS))
        if pictures and (count := cut.covered(lasts)):
            pictures = (pictures + pictures[-1:] * (count * frames))[: count * frames]
            clip.pictures = pictures[frames // 2 :: frames]
            clip.steps["video"] = _squares(pictures, ends["video"].size).reshape(
                count, frames, *[ends["video"].size] * 2, 3
            )
    if "text" in ends and "text" in listed.modalities:
        words = read_words(listed.files["text"]) if "text" in listed.files else words_of(listed.caption)
        clip.words = words[: cut.steps]
        if clip.words:
            clip.steps["text"] = clip.words
    if not clip.steps:
        raise ReadError("nothing of it is as long as half a step")
    return clip


def _squares(pictures: list[Any], size: int) -> np.ndarray:
    """The middle squares of pictures, uint8 ``[n, size, size, 3]``."""
    from PIL import ImageOps

    made: dict[int, np.ndarray] = {}  # a picture that is shown throughout is made small once
    for picture in pictures:
        if id(picture) not in made:
            made[id(picture)] = np.asarray(ImageOps.fit(picture, (size, size)))
    return np.stack([made[id(picture)] for picture in pictures])


def _keep(
    clip: Clip, ends: Mapping[str, FrontEnd], cut: Cut, writer: StoreWriter, row: int, keep_media: bool
) -> dict[str, list[str]]:
    """Write what can be heard and seen of a clip, and return by modality a reference a step."""
    references = {m: [""] * cut.steps for m in ends}
    for step, word in enumerate(clip.words):
        references["text"][step] = f"word:{word}"
    if not keep_media:
        return references
    folder = writer.folder / MEDIA
    folder.mkdir(exist_ok=True)
    if clip.samples is not None:
        from scipy.io import wavfile

        rate = ends["audio"].rate
        whole = np.rint(np.clip(clip.samples, -1, 1) * 32767).astype(np.int16)
        wavfile.write(folder / f"{row:06d}.wav", rate, whole)
        for step in range(len(clip.steps["audio"])):
            stop = min((step + 1) * cut.seconds, len(whole) / rate)
            references["audio"][step] = f"wav:{MEDIA}/{row:06d}.wav#{step * cut.seconds:g},{stop:g}"
    kept: dict[int, str] = {}
    for step, picture in enumerate(clip.pictures):
        if id(picture) not in kept:
            kept[id(picture)] = f"{MEDIA}/{row:06d}-{step:02d}.png"
            small = picture.copy()
            small.thumbnail((_PIXELS, _PIXELS))
            small.save(writer.folder / kept[id(picture)])
        references["video"][step] = f"png:{kept[id(picture)]}"
    return references


def _annotations(clips: Sequence[Listed], classes: tuple[str, ...], cut: Cut) -> dict[str, Any]:
    """What the list says of clips, as :func:`annotate` takes it; no label where no clip is labelled."""
    splits = dict.fromkeys(clip.split for clip in clips if clip.split)
    said: dict[str, Any] = dict(
        splits={split: np.flatnonzero([clip.split == split for clip in clips]) for split in splits},
        ids=[clip.name for clip in clips],
    )
    if not classes:
        return said
    event = np.ma.array(np.zeros((len(clips), cut.steps, len(classes)), bool), mask=False)
    place = {name: number for number, name in enumerate(classes)}
    for row, clip in enumerate(clips):
        for happening in clip.events:
            event.data[row, _held(happening, cut), place[happening.label]] = True
        if not clip.events:
            event[row] = np.ma.masked
    return said | dict(labels={"event": event}, classes={"event": list(classes)})


def _held(event: Event, cut: Cut) -> np.ndarray:
    """At which steps an event holds, bool ``[steps]``."""
    begin = np.arange(cut.steps) * cut.seconds
    shared = np.minimum(event.offset, begin + cut.seconds) - np.maximum(event.onset, begin)
    held = shared >= cut.seconds / 2 - 1e-9
    if not held.any() and shared.max() > 0:
        held[shared.argmax()] = True
    return held
