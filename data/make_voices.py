"""Speak the ten digits in many synthetic voices: makes `srcid/features/voices.npz`, the speech of data `digits`.

    pip install espeakng-loader==0.2.4 && python data/make_voices.py

espeak-ng speaks offline. A voice is one of its voice variants (a timbre: formants, breath, roughness) in one of its
accents of English, at a pitch, a range of pitch and a speed of its own. A timbre belongs to one split, so that no
voice and nothing like it is in two. Each recording is cut to what is heard, brought to 8 kHz and 90 % of full scale,
and kept as 8-bit mu-law (ITU-T G.711's curve, mu = 255).
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

TARGET = Path(__file__).resolve().parents[1] / "srcid" / "features" / "voices.npz"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = {
    "American": "en-us",
    "Received Pronunciation": "en-gb-x-rp",
    "Scottish": "en-gb-scotland",
    "Lancastrian": "en-gb-x-gbclan",
    "Caribbean": "en-029",
    "New York": "en-us-nyc",
}
# variants of espeak-ng 1.52; of each kind the first 9 train, the next 3 validate, the last 3 test
TIMBRES = {
    "female": (
        "f1", "Andrea", "f3", "Annie", "linda", "whisperf", "f5", "shelby", "anika",
        "f2", "Alicia", "aunty", "f4", "steph", "belinda",
    ),
    "male": (
        "m1", "Gene", "m4", "Michael", "pablo", "Jacky", "m7", "gustave", "Andy",
        "m2", "max", "paul", "m3", "marcelo", "victor",
    ),
    "Klatt": (  # a male voice by Klatt's synthesiser instead of espeak's own
        "klatt", "klatt3", "klatt5", "Reed", "adam", "edward", "announcer", "benjamin", "robosoft3",
        "klatt2", "david", "mike2", "klatt4", "klatt6", "edward2",
    ),
}  # fmt: skip
SPLITS = ("train",) * 9 + ("val",) * 3 + ("test",) * 3
ACCENTS_EACH = 3
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_SYNCHRONOUS, _UTF8 = 1, 1


class Speaker:
    """espeak-ng as a function from words to samples."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        self._parts: list[np.ndarray] = []

        def keep(samples: ctypes.Array, count: int, events: int) -> int:
            if count > 0:
                self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(keep)  # kept, or it would be freed while the library calls it
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, word: str, voice: str, pitch: int, pitch_range: int, words_per_minute: int) -> np.ndarray:
        """Return int16 samples at ``self.rate``."""
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice '{voice}'")
        for parameter, value in ((_RATE, words_per_minute), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._parts.clear()
        text = word.encode() + b"\0"
        self._library.espeak_Synth(text, len(text), 0, 0, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._parts)


def heard(samples: np.ndarray, rate: int) -> np.ndarray:
    """Bring samples to 8 kHz and a peak of 0.9, without the silence around them (frames 40 dB below the loudest)."""
    samples = resample_poly(samples / 32768, 8000, rate)
    frames = samples[: len(samples) // 80 * 80].reshape(-1, 80)
    power = np.mean(np.square(frames), axis=1)
    loud = np.flatnonzero(power > power.max() * 1e-4)
    samples = samples[max(0, loud[0] - 1) * 80 : (loud[-1] + 2) * 80]
    return 0.9 * samples / np.abs(samples).max()


def mu_law(samples: np.ndarray) -> np.ndarray:
    """Compress samples in -1 to 1 to int8."""
    return np.rint(127 * np.sign(samples) * np.log1p(255 * np.abs(samples)) / np.log(256)).astype(np.int8)


def main() -> None:
    rng = np.random.default_rng(2024)
    speaker, accents = Speaker(), list(ACCENTS)
    sounds, voices = [], []
    for kind, timbres in TIMBRES.items():
        for number, (timbre, split) in enumerate(zip(timbres, SPLITS, strict=True)):
            for turn in range(ACCENTS_EACH):
                accent = accents[(number * ACCENTS_EACH + turn) % len(accents)]
                pitch, pitch_range = int(rng.integers(30, 75)), int(rng.integers(25, 90))
                speed = int(rng.integers(160, 240))
                voices.append((kind, timbre, accent, split, pitch, pitch_range, speed))
                name = f"{ACCENTS[accent]}+{timbre}"
                sounds += [mu_law(heard(speaker.say(w, name, pitch, pitch_range, speed), speaker.rate)) for w in WORDS]
    kind, timbre, accent, split, pitch, pitch_range, speed = (np.array(column) for column in zip(*voices, strict=True))
    np.savez_compressed(
        TARGET,
        samples=np.concatenate(sounds),
        stops=np.cumsum([len(sound) for sound in sounds], dtype=np.int32),  # recording 10 * voice + digit
        kind=kind, timbre=timbre, accent=accent, split=split,
        pitch=pitch, pitch_range=pitch_range, words_per_minute=speed,
    )  # fmt: skip
    seconds = sum(map(len, sounds)) / 8000
    print(f"{len(voices)} voices, {len(sounds)} recordings, {seconds:.0f} s, {TARGET.stat().st_size:,} bytes: {TARGET}")


if __name__ == "__main__":
    main()
