"""The Free Spoken Digit Dataset: finding, reading and splitting its recordings; spectra and mel bands."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srcid.features.checks import StoreError

FSDD_ADVICE = (
    "download https://github.com/Jakobovski/free-spoken-digit-dataset (3,000 recordings, CC BY-SA 4.0) "
    "and give its folder as fsdd=PATH"
)
SPLITS = ("train", "val", "test")
RATE, WINDOW, HOP = 8000, 256, 80  # Hz, samples, samples


@dataclass(frozen=True)
class Recording:
    """One spoken digit: file name, what the name says, length in seconds, and its spectrum at unit power."""

    name: str
    digit: int
    speaker: str
    index: int
    seconds: float
    spectrum: np.ndarray  # complex64 [frames, frequencies]

    @property
    def split(self) -> int:
        """Number of the split: index 0-4 is the official test split, 5-9 validates, the rest trains."""
        return 2 if self.index < 5 else 1 if self.index < 10 else 0


def find_recordings(fsdd: str | Path) -> Path:
    """Return the folder of wav files at or below ``fsdd``; the error says what to download."""
    if not str(fsdd):
        raise StoreError("the digits need recordings:", [f"found no path to them; {FSDD_ADVICE}"])
    base = Path(fsdd).expanduser()
    for folder in (base / "recordings", base):
        if any(folder.glob("[0-9]_*_*.wav")):
            return folder.resolve()
    raise StoreError("the digits need recordings:", [f"found no 0_SPEAKER_0.wav in {fsdd}; {FSDD_ADVICE}"])


def recordings_fingerprint(folder: Path) -> str:
    """Hash of the names and sizes of the recordings, so that stores of other recordings are told apart."""
    listing = "\n".join(f"{file.name} {file.stat().st_size}" for file in sorted(folder.glob("*.wav")))
    return hashlib.sha256(listing.encode()).hexdigest()


def read_recordings(folder: Path) -> list[Recording]:
    """Read all recordings; unusable ones, and digits a speaker lacks in a split, are reported together."""
    from scipy.io import wavfile

    recordings, problems = [], []
    for file in sorted(folder.glob("*.wav")):
        named = re.fullmatch(r"(\d)_([^_]+)_(\d+)", file.stem)
        if not named:
            problems.append(f"{file.name}: the name is not DIGIT_SPEAKER_INDEX.wav")
            continue
        try:
            rate, samples = wavfile.read(file)
        except ValueError as error:
            problems.append(f"{file.name}: {error}")
            continue
        if rate != RATE or samples.ndim != 1 or not samples.any():
            problems.append(f"{file.name}: found {rate} Hz, shape {samples.shape}; need {RATE} Hz mono, not silent")
            continue
        digit, speaker, index = named.groups()
        samples = samples / np.sqrt(np.mean(np.square(samples, dtype=float)))
        seconds = len(samples) / rate
        recordings.append(Recording(file.name, int(digit), speaker, int(index), seconds, spectrum(samples)))
    for speaker in sorted({r.speaker for r in recordings}):
        for split, name in enumerate(SPLITS):
            have = {r.digit for r in recordings if r.speaker == speaker and r.split == split}
            if len(have) < 10:
                missing = sorted(set(range(10)) - have)
                problems.append(f"speaker {speaker} has no recording of the digits {missing} for the {name} split")
    if problems:
        raise StoreError(f"the recordings in {folder} cannot be used; {FSDD_ADVICE}:", problems)
    return recordings


def spectrum(samples: np.ndarray) -> np.ndarray:
    """Short-time Fourier transform, complex64 ``[frames, frequencies]``, of Hann windows."""
    padded = np.pad(samples, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    return np.fft.rfft(frames * np.hanning(WINDOW)).astype(np.complex64)


def mel_filters(bands: int) -> np.ndarray:
    """Triangular filters ``[frequencies, bands]``, evenly spaced on the mel scale 2595 log10(1 + f/700)."""
    edges = np.linspace(*(2595 * np.log10(1 + np.array([50, RATE / 2]) / 700)), bands + 2)
    low, middle, high = (700 * (10 ** (edges[i : i + bands] / 2595) - 1) for i in range(3))
    frequency = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    filters = np.minimum((frequency - low) / (middle - low), (high - frequency) / (high - middle))
    return np.maximum(filters, 0).astype(np.float32)
