"""Pictures, sounds and names: the stamps of Tux Paint, as Debian's package ``tuxpaint-stamps-default`` has them.

A stamp is a picture with its name in many languages, spoken in up to nine of them, and for some a sound that the thing
makes. A clip is a stamp in one voice:

- audio ``[128]``: a quarter of a second of speech, or of the natural sound, in mel bands
  (:func:`srcid.features.front_ends.log_mel`); masked after its end.
- video ``[4,4,48]``: patches of colour of the picture (:func:`srcid.features.front_ends.patches`), seen closer and from
  elsewhere at each step; mirrored in half of the clips.
- text ``[64]``: hashed subwords of the name, its words spread over the steps as in speech.

All are standardised by the present steps of the training clips. A stamp is in one split, in whatever voice, and so are
stamps that share a name or a recording.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from srcid.features.checks import SPLITS, StoreError
from srcid.features.extraction.reading import ReadError, missing_readers, read_sound, words_of
from srcid.features.front_ends import (
    FRONT_ENDS,
    RATE,
    log_mel,
    measure_scale,
    patches,
    standardised,
    subwords,
)
from srcid.features.media import MediaError, read_image
from srcid.features.published.plan import split_at
from srcid.features.store import FeatureStore
from srcid.files import listing_hash
from srcid.params import Section

STAMPS_ADVICE = (
    "install Debian's package tuxpaint-stamps-default, or unpack it without installing (apt-get download "
    "tuxpaint-stamps-default; dpkg -x *.deb FOLDER) and say stamps=FOLDER"
)
LANGUAGES = ("fr", "ru", "ro", "ca", "bg", "es", "be", "el", "da")
NATURAL = "natural sound"
_SECONDS, _SIDE = 0.25, 64  # of a step of sound; pixels


class StampsParams(Section):
    """What to make of the stamps."""

    stamps: str = Field("/usr/share/tuxpaint/stamps", description="folder of the stamps")
    languages: tuple[str, ...] = Field(LANGUAGES, min_length=1, description="languages of spoken names")
    natural: bool = Field(True, description="clips with the sound that a thing makes, beside spoken names")
    steps: int = Field(6, ge=1, le=40, description="time steps T per clip, a quarter of a second each")
    zoom: float = Field(0.6, gt=0, le=1, description="smallest part of a picture's side that is seen")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of what is seen of pictures")


@dataclass(frozen=True)
class Stamp:
    """One picture with what is said of it.

    Attributes:
        name: its path below the folder, without ending.
        names: language -> name; ``en`` is the English one.
        voices: language, or :data:`NATURAL`, -> sound file.
    """

    name: str
    names: dict[str, str]
    voices: dict[str, Path]


def find_stamps(folder: str | Path) -> Path:
    """Return the folder of stamps at or below ``folder``; the error says what to install."""
    base = Path(folder).expanduser()
    for found in (base / "usr/share/tuxpaint/stamps", base):  # as dpkg -x unpacks it, or the stamps themselves
        if found.is_dir() and next(found.glob("*/**/*.png"), None):
            return found.resolve()
    raise StoreError("there are no stamps:", [f"found no pictures in folders of {folder}; {STAMPS_ADVICE}"])


def stamps_fingerprint(folder: str | Path) -> str:
    """Hash over the names and sizes of all files, which tells stamps from others."""
    base = find_stamps(folder)
    return listing_hash(base, (file for file in sorted(base.rglob("*")) if file.is_file()))


def read_stamps(folder: Path, params: StampsParams) -> list[Stamp]:
    """Read the names of all stamps that have one of the asked-for voices, in the order of their paths."""
    found = []
    for picture in sorted(folder.glob("*/**/*.png")):
        text = picture.with_suffix(".txt")
        if not text.is_file() or picture.stem.endswith("_mirror"):
            continue
        first, *others = text.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        names = {"en": first} | dict(line.split(".utf8=", 1) for line in others if ".utf8=" in line)
        voices = {lang: picture.with_name(f"{picture.stem}_desc_{lang}.ogg") for lang in params.languages}
        if params.natural:
            voices[NATURAL] = picture.with_suffix(".ogg")
        voices = {
            voice: file
            for voice, file in voices.items()
            if file.is_file() and words_of(names.get("en" if voice == NATURAL else voice, ""))
        }
        if voices:
            found.append(Stamp(picture.relative_to(folder).with_suffix("").as_posix(), names, voices))
    return found


def split_clips(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return the split of each clip: of each category 70, 10 and 20 % of its groups, by a hash of names.

    Clips of one stamp are a group, and so are stamps of which two clips sound or read the same, directly or by way of
    others: the package has one recording for many coins.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    marks: dict[tuple[str, Any], int] = {}
    ends = [
        (number, len(rows) + marks.setdefault(mark, len(marks)))
        for number, row in enumerate(rows)
        for mark in (("item", row["item"]), *((m, row["features"][m].tobytes()) for m in ("audio", "text")))
    ]
    size = len(rows) + len(marks)
    links = coo_array((np.ones(len(ends)), np.array(ends).T), (size, size))
    group = connected_components(links, directed=False)[1][: len(rows)]
    _, first = np.unique(group, return_index=True)  # groups count from 0, for each holds a clip
    category = np.array([_category(rows[row]) for row in first])
    place = np.array([zlib.crc32(rows[row]["id"].encode()) for row in first])
    split = np.empty(len(first), "<U5")
    for own in (np.flatnonzero(category == name) for name in np.unique(category)):
        share = (np.argsort(np.argsort(place[own], kind="stable")) + 0.5) / len(own)
        split[own] = [split_at(part) for part in share]
    return split[group]


def make_stamps(path: str | Path, params: StampsParams | None = None) -> FeatureStore:
    """Write the clips of ``params`` to a new store at ``path``; same parameters and files, same bytes.

    Labels: ``event`` bool ``[N,T,C]``, the stamp's category throughout (``animals``, ...); ``folder`` ``[N]``,
    finer (``animals/birds``); ``item`` ``[N]``, the stamp, for retrieval; ``voice`` ``[N]``, the language spoken or
    "natural sound", private to the audio; ``language`` ``[N]`` of the written name, private to the text; ``mirrored``
    ``[N]``, private to the video. Media references name the files behind every step.

    Raises:
        StoreError: the stamps are not found or not as expected, soundfile is missing, or the target exists.
    """
    params = params or StampsParams()
    folder = find_stamps(params.stamps)
    stamps = read_stamps(folder, params)
    problems = missing_readers({file for stamp in stamps for file in stamp.voices.values()})
    if not stamps:
        problems.append(f"found no stamp with a voice of {', '.join(params.languages)}")
    StoreError.check(f"the stamps in {folder} cannot be used; {STAMPS_ADVICE}:", problems)
    rows: list[dict[str, Any]] = []
    unread: list[str] = []
    for number, stamp in enumerate(stamps):
        try:
            image = read_image(folder / f"{stamp.name}.png")
        except MediaError as error:
            unread.append(str(error))
            continue
        for voice in stamp.voices:
            try:
                rows.append(_clip(stamp, number, image, voice, folder, params))
            except ReadError as error:  # some of the package's natural sounds are silent
                unread.append(str(error))
    splits = split_clips(rows) if rows else np.array([])
    problems = [f"found no clips for split {split}" for split in SPLITS if split not in splits]
    StoreError.check(f"the stamps in {folder} cannot be used; {STAMPS_ADVICE}:", [*problems, *unread] * bool(problems))
    categories = sorted({_category(row) for row in rows})
    event = np.array([[c == _category(row) for c in categories] for row in rows])
    masks = {m: np.stack([row["masks"][m] for row in rows]) for m in ("audio", "video", "text")}
    features = {m: np.stack([row["features"][m] for row in rows]) for m in masks}
    scales = {m: measure_scale(values, np.flatnonzero(splits == "train"), masks[m]) for m, values in features.items()}
    return FeatureStore.create(
        path,
        {m: standardised(values, scales[m], masks[m]) for m, values in features.items()},
        labels={
            "event": np.repeat(event[:, None], params.steps, axis=1),
            **{name: np.array([row[name] for row in rows]) for name in ("folder", "voice", "language", "mirrored")},
            "item": np.array([row["item"] for row in rows]),
        },
        classes={"event": categories, "item": [stamp.name for stamp in stamps]},
        visible_in={"voice": ("audio",), "language": ("text",), "mirrored": ("video",)},
        splits={split: np.flatnonzero(splits == split) for split in SPLITS},
        ids=[row["id"] for row in rows],
        masks=masks,
        media={m: np.stack([row["media"][m] for row in rows]) for m in masks},
        media_root=folder,
        provenance={
            "name": "stamps",
            "description": f"{len(stamps)} stamps of Tux Paint: picture, written name, spoken name or natural sound",
            "left_out": unread,
            "licence": "GPL-2, parts in the public domain (tuxpaint-stamps)",
            "citation": "B. Kendrick et al., Tux Paint stamps, https://tuxpaint.org",
            "params": params.model_dump(mode="json", exclude={"stamps"}),
            "front_ends": {m: FRONT_ENDS[m].facts() for m in masks},
            "seconds": _SECONDS,
            "scales": scales,
        },
    )


def _category(row: dict[str, Any]) -> str:
    return row["folder"].partition("/")[0]


def _clip(
    stamp: Stamp, number: int, image: np.ndarray, voice: str, folder: Path, params: StampsParams
) -> dict[str, Any]:
    """Return all that the store keeps of a stamp in one voice.

    Raises:
        ReadError: its sound cannot be read, is silent, or is shorter than half a step.
    """
    steps, each, file = params.steps, round(RATE * _SECONDS), stamp.voices[voice]
    samples = read_sound(file, RATE, steps * _SECONDS)
    if samples is None or len(samples) < each / 2 or not samples.any():
        raise ReadError(f"{file.relative_to(folder)} holds no sound")
    heard = min(steps, int(len(samples) / each + 0.5))
    samples = np.pad(samples / np.abs(samples).max(), (0, max(0, heard * each - len(samples))))[: heard * each]
    language = "en" if voice == NATURAL else voice
    words = words_of(stamp.names[language])[:steps]
    words = [words[step * len(words) // heard] for step in range(heard)] if len(words) < heard else words
    draw = np.random.default_rng([params.seed, zlib.crc32(f"{stamp.name} {voice}".encode())])
    mirrored = bool(draw.integers(2))
    frames = _looks(image[:, ::-1] if mirrored else image, draw, params)
    sound = file.relative_to(folder).as_posix()
    return {
        "id": f"{stamp.name} {voice}",
        "item": number,
        "folder": stamp.name.rpartition("/")[0],
        "voice": voice,
        "language": language,
        "mirrored": "yes" if mirrored else "no",
        "features": {
            "audio": _filled(log_mel(samples.reshape(heard, each)), steps),
            "video": patches(frames[:, None]),
            "text": _filled(subwords(words), steps),
        },
        "masks": {
            "audio": np.arange(steps) < heard,
            "video": np.ones(steps, bool),
            "text": np.arange(steps) < len(words),
        },
        "media": {
            "audio": _texts([f"sound:{sound}#{t * _SECONDS:g},{(t + 1) * _SECONDS:g}" for t in range(heard)], steps),
            "video": _texts([f"png:{stamp.name}.png"] * steps, steps),
            "text": _texts([f"word:{word}" for word in words], steps),
        },
    }


def _looks(image: np.ndarray, draw: np.random.Generator, params: StampsParams) -> np.ndarray:
    """Squares of a picture, closer and from elsewhere at each step: uint8 ``[T, side, side, 3]``."""
    from PIL import Image, ImageOps

    whole = ImageOps.pad(Image.fromarray(image).convert("RGB"), (2 * _SIDE, 2 * _SIDE), color="white")
    found = []
    for _ in range(params.steps):
        side = draw.uniform(params.zoom, 1) * whole.width
        left, top = draw.uniform(0, whole.width - side, 2)
        found.append(np.asarray(whole.resize((_SIDE, _SIDE), box=(left, top, left + side, top + side))))
    return np.stack(found)


def _filled(values: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([values, np.zeros((steps - len(values), *values.shape[1:]), np.float32)]).astype(np.float32)


def _texts(references: list[str], steps: int) -> np.ndarray:
    return np.array(references + [""] * (steps - len(references)))
