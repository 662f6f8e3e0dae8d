"""Spoken digits: the synthetic voices of this package or the Free Spoken Digit Dataset; spectra and mel bands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srcid.features.checks import SPLITS, StoreError
from srcid.features.media import MediaError, read_wav
from srcid.features.voices import RATE, spoken, voices, voices_fingerprint
from srcid.files import listing_hash

FSDD_ADVICE = (
    "download https://github.com/Jakobovski/free-spoken-digit-dataset (3,000 recordings, CC BY-SA 4.0) "
    "and give its folder as fsdd=PATH"
)
WINDOW, HOP = 256, 80  # samples


@dataclass(frozen=True)
class Recording:
    """One spoken digit.

    Attributes:
        reference: media reference, see :mod:`srcid.features.media`.
        digit: what is said.
        voice: who says it; a clip has one voice throughout.
        kind: the private factor of the audio: the speaker, or the kind of synthetic voice.
        split: number of the split.
        spectrum: complex64 ``[frames, frequencies]``, at unit power.
    """

    reference: str
    digit: int
    voice: str
    kind: str
    split: int
    spectrum: np.ndarray


@dataclass(frozen=True)
class Speech:
    """Recordings to make clips of; ``source``, ``licence`` and ``citation`` say whose they are.

    Attributes:
        recordings: all of them, in a fixed order.
        kinds: the values of the private factor.
        fingerprint: tells these recordings from others.
        folder: where the recordings' media references start; None if they need no files.
    """

    recordings: tuple[Recording, ...]
    kinds: tuple[str, ...]
    fingerprint: str
    folder: Path | None
    source: str
    licence: str
    citation: str


def read_speech(fsdd: str | Path = "") -> Speech:
    """Read the recordings below ``fsdd``, or the synthetic voices where it is empty.

    Raises:
        StoreError: no recordings there, or unusable ones.
    """
    if not str(fsdd):
        return Speech(
            recordings=_read_voices(),
            kinds=tuple(dict.fromkeys(voices().kinds)),
            fingerprint=voices_fingerprint(),
            folder=None,
            source="synthetic voices of espeak-ng, not of people; fsdd=PATH takes people's",
            licence="made by this project (data/make_voices.py) and shared under its licence",
            citation="eSpeak NG 1.52, https://github.com/espeak-ng/espeak-ng",
        )
    folder = find_recordings(fsdd)
    recordings = _read_fsdd(folder)
    return Speech(
        recordings=recordings,
        kinds=tuple(sorted({r.kind for r in recordings})),
        fingerprint=speech_fingerprint(fsdd),
        folder=folder,
        source="people: the Free Spoken Digit Dataset",
        licence="Free Spoken Digit Dataset: CC BY-SA 4.0",
        citation="Z. Jackson et al., Free Spoken Digit Dataset, doi:10.5281/zenodo.1342401",
    )


def speech_fingerprint(fsdd: str | Path = "") -> str:
    """Hash that tells recordings from others: of the voices, or of the names and sizes of the files."""
    if not str(fsdd):
        return voices_fingerprint()
    folder = find_recordings(fsdd)
    return listing_hash(folder, _wav_files(folder))


def find_recordings(fsdd: str | Path) -> Path:
    """Return the folder of wav files at or below ``fsdd``; the error says what to download."""
    base = Path(fsdd).expanduser()
    for folder in (base / "recordings", base):
        if any(folder.glob("[0-9]_*_*.[wW][aA][vV]")):
            return folder.resolve()
    raise StoreError("the digits need recordings:", [f"found no 0_SPEAKER_0.wav in {fsdd}; {FSDD_ADVICE}"])


def _read_voices() -> tuple[Recording, ...]:
    found = voices()
    return tuple(
        Recording(f"voice:{number}", digit, name, kind, SPLITS.index(split), unit_spectrum(spoken(number)))
        for voice, (name, kind, split) in enumerate(zip(found.names, found.kinds, found.splits, strict=True))
        for digit, number in enumerate(range(10 * voice, 10 * voice + 10))
    )


def _wav_files(folder: Path) -> list[Path]:
    """All that is named as a recording, whatever its ending's letters; what it is shows when it is read."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".wav")


def _read_fsdd(folder: Path) -> tuple[Recording, ...]:
    """Read all recordings; unusable ones, and digits a speaker lacks in a split, are reported together.

    Index 0-4 is the official test split, 5-9 validates, the rest trains.
    """
    recordings: list[Recording] = []
    problems: list[str] = []
    known: dict[tuple[int, str, int], str] = {}
    for file in _wav_files(folder):
        named = re.fullmatch(r"(\d)_([^_]+)_(\d{1,9})", file.stem)
        if not named:
            problems.append(f"{file.name}: the name is not DIGIT_SPEAKER_INDEX.wav")
            continue
        digit, speaker, index = int(named[1]), named[2], int(named[3])
        if (first := known.setdefault((digit, speaker, index), file.name)) != file.name:
            problems.append(f"{file.name}: {first} has the same digit, speaker and index")
            continue
        try:
            rate, samples = read_wav(file)
        except MediaError as error:
            problems.append(str(error))
            continue
        if rate != RATE or samples.ndim != 1 or len(samples) < WINDOW or not samples.any():
            need = f"need {RATE} Hz mono, {WINDOW} samples or more, not silent"
            problems.append(f"{file.name}: found {rate} Hz, shape {samples.shape}; {need}")
            continue
        reference = f"wav:{file.name}#0.0,{len(samples) / rate:.4f}"
        split = 2 if index < 5 else 1 if index < 10 else 0
        recordings.append(Recording(reference, digit, speaker, speaker, split, unit_spectrum(samples)))
    for speaker in sorted({r.voice for r in recordings}):
        for split, name in enumerate(SPLITS):
            have = {r.digit for r in recordings if r.voice == speaker and r.split == split}
            if len(have) < 10:
                missing = sorted(set(range(10)) - have)
                problems.append(f"speaker {speaker} has no recording of the digits {missing} for the {name} split")
    StoreError.check(f"the recordings in {folder} cannot be used; {FSDD_ADVICE}:", problems)
    return tuple(recordings)


def unit_spectrum(samples: np.ndarray) -> np.ndarray:
    """:func:`spectrum` of a sound that is brought to unit power."""
    return spectrum(samples / np.sqrt(np.mean(np.square(samples, dtype=float))))


def spectrum(samples: np.ndarray, window: int = WINDOW, hop: int = HOP) -> np.ndarray:
    """Short-time Fourier transform, complex64 ``[frames, frequencies]``, of Hann windows."""
    padded = np.pad(samples, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return np.fft.rfft(frames * np.hanning(window)).astype(np.complex64)


def mel_filters(bands: int, rate: int = RATE, window: int = WINDOW) -> np.ndarray:
    """Triangular filters ``[frequencies, bands]``, evenly spaced on the mel scale 2595 log10(1 + f/700)."""
    edges = np.linspace(*(2595 * np.log10(1 + np.array([50, rate / 2]) / 700)), bands + 2)
    low, middle, high = (700 * (10 ** (edges[i : i + bands] / 2595) - 1) for i in range(3))
    frequency = np.fft.rfftfreq(window, 1 / rate)[:, None]
    filters = np.minimum((frequency - low) / (middle - low), (high - frequency) / (high - middle))
    return np.maximum(filters, 0).astype(np.float32)
