"""From a media reference of a store to what can be heard, seen or read. Nothing is drawn here.

A reference is text ``kind:locator``; the empty reference stands for nothing (background, nothing kept)::

    wav:relative/path.wav#0.0,0.5   seconds 0 to 0.5 of a recording     -> (rate in Hz, float32 in -1..1)
    sound:relative/path.ogg#0.0,0.5 the same of any file that soundfile reads
    voice:123                       recording 123 of the synthetic voices of this package
    png:relative/path.png           an image                             -> uint8 [H,W] or [H,W,3]
    digits:123                      image 123 of scikit-learn's digits   -> uint8 [8,8]
    word:seven                      a word                               -> str

Relative paths start from a root folder, ``store.media_root``, and may not leave it. The store's own word on where that
is counts for nothing, as stores come from strangers; see :class:`srcid.features.store.FeatureStore`.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from srcid.params import suggest
from srcid.problems import ProblemsError
from srcid.values import shorten

if TYPE_CHECKING:
    from srcid.features.store import FeatureStore


FILES = ("wav", "sound", "png")  # kinds of references whose files lie in the store's media folder


class MediaError(ProblemsError):
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


def reference_problem(reference: str) -> str:
    """Say what keeps a reference from standing for anything; empty if nothing does. No file is looked at."""
    try:
        kind, locator = _split(reference) if reference else ("", "")
        if kind in ("wav", "sound"):
            _seconds(reference)
        if kind in FILES:
            name = locator if kind == "png" else locator.partition("#")[0]
            parts = PurePosixPath(name).parts
            if not name or "\0" in name or name.startswith("/") or ".." in parts:
                raise MediaError(f"found {shorten(reference, 200)}, need a path below the media folder")
    except MediaError as error:
        return str(error)
    return ""


def resolve(reference: str, root: str | Path = ".") -> Media:
    """Return what any reference stands for."""
    if not reference:
        return Media("none", None)
    kind, locator = _split(reference)
    if kind in ("wav", "sound", "voice"):
        return Media("audio", audio(reference, root))
    if kind == "word":
        return Media("word", locator)
    return Media("image", image(reference, root))


def audio(reference: str, root: str | Path = ".") -> tuple[int, np.ndarray]:
    """Return ``(rate in Hz, float32 samples [n] or [n, channels])`` of a reference to a sound."""
    kind, locator = _split(reference)
    if kind == "voice":
        return _voice(locator)
    name, start, stop = _seconds(reference)
    if kind == "sound":
        return _part(_file(name, root), start, stop)
    rate, samples = read_wav(_file(name, root))
    return rate, samples[round(start * rate) : None if stop is None else round(stop * rate)]


def read_wav(file: Path) -> tuple[int, np.ndarray]:
    """Return ``(rate in Hz, float32 samples [n] or [n, channels])``, full scale being 1.

    Samples of 8 bits are unsigned; 16, 24, 32 and 64 bits, whole or floating, plain or extensible, are read too.

    Raises:
        MediaError: it is compressed, damaged, cut off, or holds values that are not finite.
    """
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that hold no sound
            rate, samples = wavfile.read(file)
    except Exception as error:  # damaged headers make it raise anything
        why = str(error)[:100] if isinstance(error, (ValueError, OSError)) else "its header is damaged"
        raise MediaError(f"{file.name} cannot be read as wav ({why})") from None
    if lost := _lost_bytes(file):
        raise MediaError(f"{file.name} is cut off: {lost:,} bytes of the sound that its header tells of are missing")
    if rate < 1:
        raise MediaError(f"{file.name} cannot be read as wav (its header says {rate} Hz)")
    if samples.dtype.kind == "u":
        middle = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples.astype(np.float32) - middle) / middle
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    with np.errstate(over="ignore"):
        samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise MediaError(f"{file.name} holds samples that are not finite")
    return int(rate), samples


def mono(samples: np.ndarray, rate: int, goal: int) -> np.ndarray:
    """Samples ``[n]`` or ``[n, channels]`` as one channel at ``goal`` Hz, interpolated: good enough to listen to."""
    samples = samples.mean(axis=1) if samples.ndim == 2 else samples
    if rate == goal:
        return samples
    return np.interp(np.arange(0, len(samples), rate / goal), np.arange(len(samples)), samples).astype(samples.dtype)


def _lost_bytes(file: Path) -> int:
    """Bytes of sound that a wav's header tells of and the file lacks; what was written as a stream tells of none."""
    with file.open("rb") as stream:
        order = "big" if stream.read(12).startswith(b"RIFX") else "little"
        while len(chunk := stream.read(8)) == 8:
            size = int.from_bytes(chunk[4:], order)
            if chunk[:4] == b"data":
                return max(0, size - (file.stat().st_size - stream.tell())) if size < 0x7FFF_F000 else 0
            stream.seek(size + size % 2, 1)
    return 0


def _part(file: Path, start: float, stop: float | None) -> tuple[int, np.ndarray]:
    """Return rate and samples of a part of a file that soundfile reads."""
    try:
        import soundfile
    except ImportError:
        raise MediaError(f"{file.name} needs the package soundfile: pip install 'srcid[media]'") from None
    try:
        with soundfile.SoundFile(file) as sound:
            rate = sound.samplerate
            sound.seek(min(round(start * rate), len(sound)))
            return rate, sound.read(-1 if stop is None else round((stop - start) * rate), dtype="float32")
    except (soundfile.SoundFileError, OSError) as error:
        raise MediaError(f"{file.name} cannot be read as a sound ({str(error)[:100]})") from None


def _seconds(reference: str) -> tuple[str, float, float | None]:
    """Return file, start and stop of ``wav:FILE#START,STOP``; a file's own name may hold ``#`` too."""
    kind, locator = _split(reference)
    if kind not in ("wav", "sound"):
        raise MediaError(f"found media reference '{reference}', need 'wav:...' or 'sound:...'")
    name, _, seconds = locator.rpartition("#")
    if not name or not re.fullmatch(r"[^/]*,[^/]*", seconds):
        if "#" in locator and (kind == "sound" or not locator.lower().endswith(".wav")):
            raise MediaError(f"found '{reference}', need '{kind}:FILE#START,STOP' in seconds")
        return locator, 0.0, None
    try:
        start, stop = (float(part) for part in seconds.split(","))
    except ValueError:
        start = stop = np.nan
    if not 0 <= start <= stop < np.inf:
        raise MediaError(f"found '{reference}', need '{kind}:FILE#START,STOP' in seconds")
    return name, start, stop


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
        return read_image(_file(locator, root), ("PNG",))
    digits, number = _digits(), int(locator) if kind == "digits" and locator.isdecimal() else -1
    if not 0 <= number < len(digits):
        raise MediaError(f"found '{reference}', need 'png:FILE' or 'digits:0' to 'digits:{len(digits) - 1}'")
    return digits[number]


def read_image(file: Path, formats: tuple[str, ...] | None = None) -> np.ndarray:
    """Return an image as uint8 ``[H,W]`` where it is grey and ``[H,W,3]`` otherwise.

    Sixteen bits become eight, palettes colours, and what is transparent white. It is turned as its camera was held.

    Args:
        formats: those that may be read, by Pillow's names; None for all it knows.

    Raises:
        MediaError: it is no such image, damaged, or unpacks to too much.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # by a stream: named files Pillow may map into memory, and then scrambles some that are to be turned
            with file.open("rb") as stream, Image.open(stream, formats=formats) as picture:
                picture.load()
                picture = ImageOps.exif_transpose(picture)
                if picture.mode in ("I", "F"):
                    raise ValueError("it holds numbers of 32 bits, whose black and white nothing says; need 8 or 16")
                if picture.mode.startswith("I;16"):
                    values = np.asarray(picture)
                    seen = np.rint(values / 257).astype(np.uint8)
                    return np.where(values == picture.info.get("transparency", -1), np.uint8(255), seen)
                if picture.mode == "P" and 3 * int(np.asarray(picture).max()) >= len(picture.getpalette() or ()):
                    raise ValueError("its palette lacks a colour that is used")
                grey = picture.mode in ("1", "L", "LA", "La")
                if "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
                    seen = picture.convert("RGBA")
                    picture = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
                return np.asarray(picture.convert("L" if grey else "RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError, IndexError) as error:
        why = str(error).partition(" <")[0][:100]
        raise MediaError(f"{file.name} cannot be read as an image ({why})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError(f"{file.name} unpacks to too large an image ({error})") from None


def _split(reference: str) -> tuple[str, str]:
    """Return ``(kind, locator)``."""
    kind, colon, locator = reference.partition(":")
    kinds = ["wav", "sound", "voice", "png", "digits", "word"]
    if not colon or kind not in kinds:
        raise MediaError(f"found media reference {shorten(reference, 200)}, need KIND:LOCATOR with one of {kinds}")
    return kind, locator


def _file(name: str, root: str | Path) -> Path:
    base = Path(root).resolve()
    try:
        file = (base / name).resolve()
        there = file.is_relative_to(base) and file.is_file()
    except (ValueError, OSError) as error:  # NUL, too long, links in a circle
        why = error.strerror if isinstance(error, OSError) else error
        raise MediaError(f"found {shorten(name)}, which cannot be a path ({why})") from None
    # stores come from strangers: a reference must not reach files elsewhere
    if not file.is_relative_to(base):
        raise MediaError(f"found {shorten(name, 200)}, which leaves the media folder {base}; need a path inside it")
    if not there:
        raise MediaError(
            f"found no {file}; name the folder of the media (FeatureStore.open(..., media_root=FOLDER), or the "
            "environment variable SRCID_MEDIA), or put them back"
        )
    return file


@cache
def _digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    return np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
