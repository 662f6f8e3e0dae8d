"""Words typed, pictures drawn or loaded, sounds loaded: as the features of a store whose front ends are this package's.

Such a store keeps by what its features were standardised; what is given is measured on the same scale.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from srcid.features.checks import StoreError
from srcid.features.digits import BANDS, DigitsParams, mel_quarters, patches
from srcid.features.front_ends import FRONT_ENDS, standardised, word_vector
from srcid.features.media import MediaError, mono, read_wav
from srcid.features.recordings import HOP, WINDOW, mel_filters, spectrum, unit_spectrum
from srcid.features.store import FeatureStore
from srcid.features.voices import RATE

_OLD = "{} was made by an earlier version, which kept too little of it; make it anew"
_LOUD = 0.05  # of the loudest sample: what is quieter at either end of a recording is cut away


class OwnDigits:
    """Brings words, pictures and sounds to the features of a digits store.

    Args:
        store: made by :func:`srcid.features.digits.make_digits`.

    Raises:
        StoreError: a store of an earlier version, which kept no scales.

    Attributes:
        draws: a drawing of 8 x 8 pixels is a picture here.
    """

    draws = True

    def __init__(self, store: FeatureStore) -> None:
        if "scales" not in store.provenance:
            raise StoreError(_OLD.format(store.path))
        self.params = DigitsParams(**store.provenance["params"])
        self._scales = store.provenance["scales"]

    def word(self, text: str) -> np.ndarray:
        """Features ``[T, D]`` of a word that stands at every step.

        Raises:
            StoreError: no word.
        """
        if not text.strip():
            raise StoreError("found no word; type one")
        vector = word_vector(text.strip().lower(), self.params.word_dim)
        return self._scaled("text", np.tile(vector, (self.params.steps, 1)))

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Features ``[T, 4, 4, D]`` of a picture of a digit that is shown at every step.

        Args:
            image: brightness ``[H, W]``, or colours ``[H, W, 3]``, of any size; its ground, dark or light, is what its
                edges show.

        Raises:
            StoreError: nothing is drawn.
        """
        from PIL import Image

        pixels = np.asarray(image, float)
        pixels = pixels.mean(axis=2) if pixels.ndim == 3 else pixels
        edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        ink = abs(pixels - np.median(edges))
        if ink.max(initial=0) <= 0:
            raise StoreError("found an empty picture; draw a digit")
        ink /= ink.max()
        down, right = np.nonzero(ink > 0.2)
        ink = ink[down.min() : down.max() + 1, right.min() : right.max() + 1]
        room = max(ink.shape) - np.array(ink.shape)
        ink = np.pad(ink, [(r // 2, r - r // 2) for r in room])  # square: a one stays slim
        small = Image.fromarray(np.uint8(255 * ink)).resize((8, 8), Image.Resampling.BOX)
        frame = np.asarray(small, np.float32) / 255
        frames = np.tile(frame / frame.max(), (1, self.params.steps, 1, 1))
        noise = np.random.default_rng(0).standard_normal(frames.shape, np.float32)
        return self._scaled("video", patches(frames + np.float32(self.params.pixel_noise) * noise, self.params)[0])

    def sound(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Features ``[T, D]`` of a spoken digit that is heard at every step.

        Args:
            samples: mono ``[n]`` or ``[n, channels]``, at ``rate`` Hz.

        Raises:
            StoreError: silence, or less than 32 ms.
        """
        samples = mono(np.asarray(samples, float), rate, RATE)
        loud = np.flatnonzero(abs(samples) > _LOUD * abs(samples).max(initial=0))
        samples = samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]
        if len(samples) < WINDOW:
            raise StoreError(f"found {len(samples) / RATE:.3f} s of sound; need {WINDOW / RATE:.3f} s or more")
        heard = unit_spectrum(samples)
        draw, features = np.random.default_rng(0), []
        for _ in range(self.params.steps):
            noise = spectrum(draw.standard_normal(HOP * len(heard)))[: len(heard)]
            features.append(mel_quarters(heard + 10 ** (-self.params.snr_db / 20) * noise, mel_filters(BANDS)))
        return self._scaled("audio", np.stack(features))

    def _scaled(self, modality: str, values: np.ndarray) -> np.ndarray:
        return standardised(values, self._scales[modality])


def read_picture(content: bytes) -> np.ndarray:
    """Colours ``[H, W, 3]``, uint8, of a picture file's bytes.

    Raises:
        StoreError: no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise StoreError(f"found no picture ({error}); need PNG, JPEG or another that Pillow reads") from None


def read_sound(content: bytes, folder: Path) -> tuple[np.ndarray, int]:
    """Samples and rate of a wav file's bytes; ``folder`` is for a moment's copy.

    Raises:
        StoreError: no wav file.
    """
    file = folder / "own.wav"
    file.write_bytes(content)
    try:
        rate, samples = read_wav(file)
    except MediaError as error:
        raise StoreError(f"found no sound ({error}); need a wav file") from None
    finally:
        file.unlink()
    return samples, rate


class OwnMedia:
    """Brings words, pictures and sounds to the features of stamps, or of media that were extracted.

    Args:
        store: made by :func:`srcid.features.stamps.make_stamps` or :func:`srcid.features.extraction.extract`.

    Raises:
        StoreError: features of a store are other networks', or made by an earlier version.

    Attributes:
        modalities: those that can be given.
        draws: a drawing of 8 x 8 pixels is no picture here.
    """

    draws = False

    def __init__(self, store: FeatureStore) -> None:
        made = store.provenance
        given = made.get("front_ends", {})
        self.modalities = tuple(m for m in store.modalities if m in given and FRONT_ENDS[m].facts() == given[m])
        name = made.get("name") or store.path.name
        if not self.modalities:
            raise StoreError(
                f"found a store of '{name}'; own input needs features made here: digits, stamps, or media extracted by "
                f"{', '.join(end.name for end in FRONT_ENDS.values())}"
            )
        if "seconds" not in made:
            raise StoreError(_OLD.format(store.path))
        self.steps, self.seconds, self._even = store.steps, float(made["seconds"]), name == "stamps"
        self._scales = made.get("scales", {})

    def word(self, text: str) -> np.ndarray:
        """Features ``[T, D]`` of words that are spread over the steps.

        Raises:
            StoreError: no word.
        """
        words = text.split()[: self.steps]
        if not words:
            raise StoreError("found no word; type one")
        return self._features("text", [words[step * len(words) // self.steps] for step in range(self.steps)])

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Features ``[T, 4, 4, D]`` of a picture ``[H, W, 3]``, uint8, whose middle square is shown at every step."""
        from PIL import Image, ImageOps

        side = FRONT_ENDS["video"].size
        square = np.asarray(ImageOps.fit(Image.fromarray(image), (side, side)))
        return self._features("video", np.tile(square, (self.steps, 1, 1, 1, 1)))

    def sound(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Features ``[T, D]`` of a sound that is cut to the clip, or heard again until the clip is full.

        Args:
            samples: mono ``[n]`` or ``[n, channels]``, at ``rate`` Hz.

        Raises:
            StoreError: silence.
        """
        goal = FRONT_ENDS["audio"].rate
        samples = mono(np.asarray(samples, float), rate, goal)
        if not samples.any():
            raise StoreError("found silence; need a sound")
        if self._even:  # as stamps are made
            samples = samples / np.abs(samples).max()
        whole = np.resize(samples, (self.steps, round(goal * self.seconds)))
        return self._features("audio", whole.astype(np.float32))

    def _features(self, modality: str, steps: Any) -> np.ndarray:
        if modality not in self.modalities:
            raise StoreError(f"this data takes {' and '.join(self.modalities)} of yours, and no {modality}")
        values = FRONT_ENDS[modality](steps)
        scale = self._scales.get(modality)
        return standardised(values, scale) if scale else values.astype(np.float32)


def own_front(store: FeatureStore) -> OwnDigits | OwnMedia:
    """Return what brings own input to the features of ``store``.

    Raises:
        StoreError: features of a store are not made here.
    """
    return OwnDigits(store) if store.provenance.get("name") == "digits" else OwnMedia(store)
