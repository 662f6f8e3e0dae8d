"""Reading media: sound as samples, videos and pictures as frames, sentences as words; what cannot be read says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srcid.features.extraction.listing import OTHER_SOUND, PICTURE, SOUND, VIDEO
from srcid.features.media import MediaError, read_image, read_wav
from srcid.features.published.lists import OLD, encoding_of
from srcid.problems import ProblemsError

if TYPE_CHECKING:
    from PIL import Image

MAX_TEXT_BYTES = 2**20


class ReadError(ProblemsError):
    """A file that cannot be read, and why."""


def missing_readers(files: set[Path]) -> list[str]:
    """Say which package is needed for these files and is not installed."""
    need = {
        "av": {f.suffix.lower() for f in files} & {*VIDEO, *OTHER_SOUND},
        "soundfile": {f.suffix.lower() for f in files} & ({*SOUND} - {".wav"}),
    }
    return [
        f"found {', '.join(sorted(endings))} files, which need the package {name}: pip install 'srcid[media]'"
        for name, endings in need.items()
        if endings and find_spec(name) is None
    ]


def read_sound(file: Path, rate: int, seconds: float) -> np.ndarray | None:
    """Return the first ``seconds`` of a recording, or of a video's sound, in mono at ``rate`` Hz: float32 ``[n]``.

    None if a video has no sound.

    Raises:
        ReadError: it cannot be read, or holds no samples.
    """
    with _reading(file):
        if file.suffix.lower() in SOUND:
            samples = _resampled(*_file_samples(file, seconds), rate)
        else:
            samples = _stream_samples(file, rate, seconds)
    if samples is not None and not len(samples):
        raise ReadError(f"{file.name} holds no sound")
    return samples if samples is None else samples[: round(seconds * rate)]


def _file_samples(file: Path, seconds: float) -> tuple[np.ndarray, int]:
    if file.suffix.lower() == ".wav":
        own, samples = read_wav(file)
        samples = samples[: round(seconds * own)]
    else:
        import soundfile

        with soundfile.SoundFile(file) as sound:
            own, samples = sound.samplerate, sound.read(round(seconds * sound.samplerate), dtype="float32")
    return (samples.mean(axis=1) if samples.ndim == 2 else samples), own


def _resampled(samples: np.ndarray, own: int, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    if not np.isfinite(samples).all():
        raise ReadError("it holds samples that are not finite")
    common = np.gcd(own, rate)
    return resample_poly(samples, rate // common, own // common).astype(np.float32) if own != rate else samples


def _stream_samples(file: Path, rate: int, seconds: float) -> np.ndarray | None:
    import av

    with av.open(str(file)) as container:
        if not container.streams.audio:
            return None
        to_mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
        parts: list[np.ndarray] = []
        for frame in container.decode(audio=0):
            if not parts and (late := _since_begin(container, frame)) > 0:  # the sound begins after the pictures
                parts.append(np.zeros(round(min(late, seconds) * rate), np.float32))
            parts += [made.to_ndarray()[0] for made in to_mono.resample(frame)]
            if sum(map(len, parts)) >= seconds * rate:
                break
        else:
            parts += [made.to_ndarray()[0] for made in to_mono.resample(None)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def read_frames(file: Path, times: np.ndarray, side: int) -> tuple[list[Image.Image], float]:
    """Return the frames of a video at ``times`` (seconds from its beginning, rising), and how long it lasts.

    There are fewer frames than times where the video ends before. It is read no further than the last time. A picture
    lasts for ever. Frames of a video come upright, and large ones smaller, no less than ``2 * side`` in their shorter
    side: those of a clip are in memory at a time.

    Raises:
        ReadError: it cannot be read, or shows nothing.
    """
    from PIL import Image

    with _reading(file):
        if file.suffix.lower() in PICTURE:
            return [Image.fromarray(read_image(file)).convert("RGB")] * len(times), np.inf
        found, lasts = _stream_frames(file, times, side)
    if not lasts:
        raise ReadError(f"{file.name} shows no frame")
    return found, lasts


def _stream_frames(file: Path, times: np.ndarray, side: int) -> tuple[list[Image.Image], float]:
    import av

    found: list[Image.Image] = []
    lasts = 0.0
    with av.open(str(file)) as container:
        if not container.streams.video:
            raise ReadError(f"{file.name} has no video")
        stream = container.streams.video[0]
        each = float(1 / stream.average_rate) if stream.average_rate else 0.04
        for number, frame in enumerate(container.decode(stream)):
            lasts = (number * each if frame.time is None else _since_begin(container, frame)) + each
            wanted = int(np.searchsorted(times, lasts - 1e-6)) - len(found)  # that this frame is shown at
            if wanted > 0:
                shrink = max(1.0, min(frame.width, frame.height) / (2 * side))
                seen = frame.to_image(width=round(frame.width / shrink), height=round(frame.height / shrink))
                found += [seen.rotate(frame.rotation, expand=True) if frame.rotation else seen] * wanted
            if len(found) == len(times):
                break
    return found, lasts


def _since_begin(container: Any, frame: Any) -> float:
    """Seconds from the beginning of a file, which sound and pictures have in common, to a frame."""
    return (frame.time or 0.0) - (container.start_time or 0) / 1e6  # FFmpeg counts a file in microseconds


def read_words(file: Path) -> list[str]:
    """Return the words of a text file."""
    with _reading(file):
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise ReadError(f"{file.name} has {file.stat().st_size:,} bytes, need {MAX_TEXT_BYTES:,} at most")
        data = file.read_bytes()
        if (encoding := encoding_of(data)) == OLD:
            raise ReadError(f"{file.name} is neither UTF-8 nor UTF-16")
        return words_of(data.decode(encoding))


def words_of(sentence: str) -> list[str]:
    """Return the words of a sentence, without what stands around them."""
    words = ("".join(c for c in word if c.isprintable()).strip(".,;:!?\"'()[]«»„“”…") for word in sentence.split())
    return [word for word in words if word]


@contextmanager
def _reading(file: Path) -> Iterator[Any]:
    """Turn what readers raise on a file into one sentence."""
    try:
        if not file.is_file():
            raise ReadError(f"{file.name} is not there")
        yield
    except (ReadError, MediaError) as error:
        raise ReadError(str(error) if file.name in str(error) else f"{file.name}: {error}") from None
    except Exception as error:  # PyAV and soundfile have families of their own, and damaged files reach any of them
        raise ReadError(f"{file.name} cannot be read ({type(error).__name__}: {str(error)[:100]})") from None
