"""Words, pictures and sounds of one's own as the features of a store whose front ends are this package's."""

from __future__ import annotations

from typing import Any

import numpy as np

from srcid.features.checks import StoreError
from srcid.features.front_ends import FRONT_ENDS
from srcid.features.own_digits import OwnDigits
from srcid.features.store import FeatureStore


class OwnMedia:
    """Brings words, pictures and sounds to the features of stamps, or of media that were extracted.

    Args:
        store: made by :func:`srcid.features.stamps.make_stamps` or :func:`srcid.features.extraction.extract`.

    Raises:
        StoreError: features of a store are other networks', or made by an earlier version.

    Attributes:
        modalities: those that can be given.
        draws: a drawing of 8 x 8 pixels is no picture here.
        note: nothing has to be said beforehand.
    """

    draws, note = False, ""

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
            raise StoreError(f"{store.path} was made by an earlier version, which kept too little of it; make it anew")
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
        samples = np.asarray(samples, float)
        samples = samples.mean(axis=1) if samples.ndim == 2 else samples
        goal = FRONT_ENDS["audio"].rate
        samples = np.interp(np.arange(0, len(samples), rate / goal), np.arange(len(samples)), samples)
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
        if scale := self._scales.get(modality):
            values = (values - np.array(scale["mean"])) / np.array(scale["deviation"])
        return values.astype(np.float32)


def own_front(store: FeatureStore) -> OwnDigits | OwnMedia:
    """Return what brings own input to the features of ``store``.

    Raises:
        StoreError: features of a store are not made here.
    """
    return OwnDigits(store) if store.provenance.get("name") == "digits" else OwnMedia(store)
