"""From a media reference of a store to what can be heard, seen or read. Nothing is drawn here.

A reference is text ``kind:locator``; the empty reference stands for nothing (background, nothing kept)::

    wav:relative/path.wav#0.0,0.5   seconds 0 to 0.5 of a recording     -> (rate in Hz, float32 in -1..1)
    voice:123                       recording 123 of the synthetic voices of this package
    png:relative/path.png           an image                             -> uint8 [H,W] or [H,W,3]
    digits:123                      image 123 of scikit-learn's digits   -> uint8 [8,8]
    word:seven                      a word                               -> str

Relative paths start from a root folder, ``store.media_root``, and may not leave it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from srcid.params import suggest

if TYPE_CHECKING:
    from srcid.features.store import FeatureStore


class MediaError(ValueError):
    """A media reference that cannot be resolved."""


class Media(NamedTuple):
    """What stands behind a reference; ``kind`` is ``audio``, ``image``, ``word`` or ``none``."""

    kind: str
    content: Any


def show(store: FeatureStore, modality: str, clip: int, step: int) -> Media:
    """Return what is heard, seen or read in one step of a clip; kind ``none`` where nothing is kept.

    Raises:
        MediaError: no such modality, or the file behind the reference is gone or outside the media folder.
    """
    if modality not in store.modalities:
        known = list(store.modalities)
        raise MediaError(f"found no modality '{modality}'{suggest(modality, known)}, need one of {known}")
    if modality not in store.media:
        return Media("none", None)
    return resolve(str(store.media[modality][clip, step]), store.media_root)


def resolve(reference: str, root: str | Path = ".") -> Media:
    """Return what any reference stands for."""
    if not reference:
        return Media("none", None)
    kind, _ = _split(reference)
    if kind in ("wav", "voice"):
        return Media("audio", audio(reference, root))
    if kind == "word":
        return Media("word", word(reference))
    return Media("image", image(reference, root))


def audio(reference: str, root: str | Path = ".") -> tuple[int, np.ndarray]:
    """Return ``(rate in Hz, float32 samples [n] or [n, channels])`` of a ``wav:`` or ``voice:`` reference."""
    from scipy.io import wavfile

    kind, locator = _split(reference)
    if kind == "voice":
        return _voice(locator)
    locator = _split(reference, "wav")
    name, _, seconds = locator.partition("#")
    rate, samples = wavfile.read(_file(name, root))
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    if seconds:
        try:
            start, stop = (float(part) for part in seconds.split(","))
        except ValueError:
            raise MediaError(f"found '{reference}', need 'wav:FILE#START,STOP' in seconds") from None
        samples = samples[round(start * rate) : round(stop * rate)]
    return rate, samples.astype(np.float32)


def _voice(locator: str) -> tuple[int, np.ndarray]:
    from srcid.features.voices import RATE, spoken

    try:
        return RATE, spoken(int(locator) if locator.isdecimal() else -1)
    except IndexError as error:
        raise MediaError(f"found 'voice:{locator}': {error}") from None


def image(reference: str, root: str | Path = ".") -> np.ndarray:
    """Return the uint8 image ``[H,W]`` or ``[H,W,3]`` of a ``digits:`` or ``png:`` reference."""
    kind, locator = _split(reference)
    if kind == "png":
        try:
            from PIL import Image
        except ImportError:
            raise MediaError("png references need Pillow: pip install pillow") from None
        with Image.open(_file(locator, root)) as picture:
            return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    digits, number = _digits(), int(locator) if kind == "digits" and locator.isdecimal() else -1
    if not 0 <= number < len(digits):
        raise MediaError(f"found '{reference}', need 'png:FILE' or 'digits:0' to 'digits:{len(digits) - 1}'")
    return digits[number]


def word(reference: str) -> str:
    """Return the word of a ``word:`` reference."""
    return _split(reference, "word")


def _split(reference: str, need: str = "") -> Any:
    """Return ``(kind, locator)``, or the locator alone where one ``need``-ed kind is asked for."""
    kind, colon, locator = reference.partition(":")
    kinds = ["wav", "voice", "png", "digits", "word"]
    if not colon or kind not in kinds:
        raise MediaError(f"found media reference '{reference}', need KIND:LOCATOR with one of {kinds}")
    if need and kind != need:
        raise MediaError(f"found media reference '{reference}', need '{need}:...'")
    return locator if need else (kind, locator)


def _file(name: str, root: str | Path) -> Path:
    base = Path(root).resolve()
    file = (base / name).resolve()
    # stores come from strangers: a reference must not reach files elsewhere
    if not file.is_relative_to(base):
        raise MediaError(f"found '{name}', which leaves the media folder {base}; need a path inside it")
    if not file.is_file():
        raise MediaError(f"found no {file}; put the media back, or make the store again where they lie now")
    return file


@cache
def _digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    return np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
