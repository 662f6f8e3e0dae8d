"""Clips of spoken, handwritten and written digits, in the manner of AVE and AVVP: events on background.

While an event lasts, every step shows its digit in all three modalities: spoken by one of this package's synthetic
voices (or, with ``fsdd=PATH``, by a person of the Free Spoken Digit Dataset), an image of scikit-learn's handwritten
digits, and a word of a ten-word caption. A finer attribute, big or small, is shared too, and weaker: loud or quiet
speech, bold or thin strokes, and big- or small- words. Private to a modality are the kind of voice (or the speaker),
the lighting (the images come without their writers), and the wording.

Features per step:

- audio ``[128]``: 32 mel bands x 4 quarters of the recording, log power of speech plus white noise; noise
  only on background.
- video ``[4,4,64]``: the 8x8 image under noise and a gradient of light, cut into 4x4 cells; each cell is a
  fixed random rectified projection of the 4x4 pixels around it, drawn per cell, so that a mean over the grid
  still tells the digit.
- text ``[64]``: the sum of fixed random vectors of the hashed character 3- and 4-grams and of the word (the
  subwords of Bojanowski et al., "Enriching word vectors with subword information", TACL 2017, without
  training). Typing errors are what makes words hard to read.

All are standardised by the mean and deviation of the training clips. No recording or image is in two splits, and no
synthetic voice; the Free Spoken Digit Dataset has its six speakers in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import Field

from srcid.features.front_ends import measure_scale, standardised, word_vector
from srcid.features.product import product
from srcid.features.recordings import HOP, Recording, Speech, mel_filters, read_speech, spectrum
from srcid.features.store import FeatureStore
from srcid.features.synthetic import consecutive_splits, distinct, event_fits, event_slots, multi_hot
from srcid.params import Section

SIZES = ("big", "small")
LIGHTS = ("top", "bottom", "left", "right")
WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # wording: (words of the digits 0 to 9, filler words)
    "cardinal": (
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        ("then", "comes", "the", "number", "after", "a", "while", "we", "count", "to"),
    ),
    "ordinal": (
        ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
        ("here", "stands", "your", "place", "in", "line", "and", "nobody", "waits", "behind"),
    ),
    "plural": (
        ("zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines"),
        ("some", "more", "of", "those", "figures", "were", "drawn", "with", "many", "pens"),
    ),
    "multiple": (
        ("zerofold", "onefold", "twofold", "threefold", "fourfold", "fivefold", "sixfold", "sevenfold",
         "eightfold", "ninefold"),
        ("it", "grew", "by", "that", "much", "so", "they", "said", "at", "last"),
    ),
}  # fmt: skip
BANDS, _QUARTERS = 32, 4
_CELLS, _PATCH = 4, 4


class DigitsParams(Section):
    """What to make of the recordings and images."""

    fsdd: str = Field("", description="folder of the Free Spoken Digit Dataset; empty: synthetic voices")
    train: int = Field(4000, ge=1, description="training clips")
    val: int = Field(500, ge=1, description="validation clips")
    test: int = Field(500, ge=1, description="test clips")
    steps: int = Field(10, ge=2, description="time steps T per clip: seconds, and words of the caption")
    two_share: float = Field(0.5, ge=0, le=1, description="share of clips with two events")
    shortest: int = Field(2, ge=1, description="fewest steps of an event")
    snr_db: float = Field(4.0, ge=-40, le=60, description="speech over white noise, before the gain, in dB")
    loudness_db: float = Field(2.0, ge=0, le=20, description="gain of big events, and loss of small ones, in dB")
    loudness_spread_db: float = Field(3.0, ge=0, le=20, description="standard deviation of the gain, in dB")
    pixel_noise: float = Field(0.22, ge=0, le=4, description="standard deviation of the noise on pixels of 0 to 1")
    boldness: float = Field(0.2, ge=0, le=1, description="how much bold strokes gain and thin ones lose")
    boldness_spread: float = Field(0.35, ge=0, le=2, description="standard deviation of that")
    light: float = Field(0.15, ge=0, le=2, description="brightness of the lit side of an image")
    light_spread: float = Field(0.1, ge=0, le=2, description="standard deviation of that")
    typos: float = Field(0.15, ge=0, le=1, description="probability that a letter is mistyped")
    size_words: float = Field(0.5, ge=0, le=1, description="share of event words that say big- or small-")
    image_dim: int = Field(64, ge=1, description="features per image cell")
    word_dim: int = Field(64, ge=1, description="features per word")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of choice, noise and projections")

    rules = (event_fits,)


@dataclass(frozen=True)
class _Plan:
    """What every clip shows, before any of it is rendered; -1 on background."""

    split: np.ndarray  # [N] number of the split
    digit: np.ndarray  # [N,T]
    size: np.ndarray  # [N,T] 0 big, 1 small


def make_digits(path: str | Path, params: DigitsParams | None = None) -> FeatureStore:
    """Write the clips of ``params`` to a new store at ``path``; same parameters and data, same bytes.

    Labels: ``event`` bool ``[N,T,10]``; ``fine`` ``[N,T]`` big or small (-1 on background);
    ``nuisance_audio`` (kind of voice, or speaker), ``nuisance_video`` (lighting) and ``nuisance_text`` (wording)
    ``[N]``, each visible in its own modality. Media references name the recording, image and word behind every step.

    Raises:
        StoreError: the recordings are not found or not as expected, or the target exists.
    """
    params = params or DigitsParams()
    speech = read_speech(params.fsdd)
    plan, event, splits, rendered = _render(params, speech)
    scales = {m: measure_scale(values, splits["train"]) for m, (values, _, _) in rendered.items()}
    return FeatureStore.create(
        path,
        features={m: standardised(values, scales[m]) for m, (values, _, _) in rendered.items()},
        labels={
            "event": event,
            "fine": plan.size,
            **{f"nuisance_{m}": private for m, (_, private, _) in rendered.items()},
        },
        classes={
            "event": list(WORDINGS["cardinal"][0]),
            "fine": list(SIZES),
            "nuisance_audio": list(speech.kinds),
            "nuisance_video": list(LIGHTS),
            "nuisance_text": list(WORDINGS),
        },
        visible_in={f"nuisance_{m}": (m,) for m in rendered},
        splits=splits,
        media={m: references for m, (_, _, references) in rendered.items()},
        media_root=speech.folder,
        provenance={
            "name": "digits",
            "description": "spoken, handwritten and written digits as events on background",
            "params": params.model_dump(mode="json", exclude={"fsdd"}),
            "scales": scales,
            "speech": speech.source,
            "recordings": speech.fingerprint,
            "licence": {
                "audio": speech.licence,
                "video": "Optical Recognition of Handwritten Digits (scikit-learn's copy): CC BY 4.0",
                "text": "made by this program",
            },
            "citation": {
                "audio": speech.citation,
                "video": "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, "
                "UCI Machine Learning Repository, 1998, doi:10.24432/C50P49",
            },
        },
    )


def _render(params: DigitsParams, speech: Speech) -> tuple[_Plan, np.ndarray, dict[str, np.ndarray], dict[str, tuple]]:
    """Plan of all clips, their events, splits, and by modality raw features, private factor and media references."""
    clips = params.train + params.val + params.test
    rng = np.random.default_rng([params.seed, 0])
    slots = event_slots(rng, clips, params.steps, most=2, many_share=params.two_share, shortest=params.shortest)
    digits, sizes = distinct(rng, clips, 2, 10), rng.integers(2, size=(clips, 2))
    event = multi_hot(slots, digits, 10)
    splits = consecutive_splits(params.train, params.val, params.test)
    plan = _Plan(
        split=np.repeat(np.arange(3), [params.train, params.val, params.test]),
        digit=np.where(event.any(-1), event.argmax(-1), -1),
        size=np.where(slots >= 0, np.take_along_axis(sizes, np.maximum(slots, 0), axis=1), -1),
    )
    rendered = {
        "audio": _audio(plan, speech, params),
        "video": _video(plan, params),
        "text": _text(plan, params),
    }
    return plan, event, splits, rendered


def _audio(plan: _Plan, speech: Speech, params: DigitsParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([params.seed, 1])
    pools: dict[tuple[int, str, int], list[Recording]] = {}
    for recording in speech.recordings:
        pools.setdefault((recording.split, recording.voice, recording.digit), []).append(recording)
    kinds = {recording.voice: speech.kinds.index(recording.kind) for recording in speech.recordings}
    voices = [sorted({voice for split, voice, _ in pools if split == here}) for here in range(3)]
    drawn = rng.integers([len(voices[split]) for split in plan.split])
    voice = [voices[split][number] for split, number in zip(plan.split, drawn, strict=True)]
    longest = max(len(r.spectrum) for r in speech.recordings)
    noise = 10 ** (-params.snr_db / 20) * spectrum(rng.standard_normal(HOP * (longest + 4000)))
    filters = mel_filters(BANDS)
    silence = np.zeros((40, noise.shape[1]), np.complex64)
    features = np.empty((*plan.digit.shape, BANDS * _QUARTERS), np.float32)
    references = np.full(plan.digit.shape, "", "<U64")
    for clip, step in np.ndindex(*plan.digit.shape):
        digit, gain, sound = plan.digit[clip, step], 1.0, silence
        if digit >= 0:
            pool = pools[plan.split[clip], voice[clip], digit]
            recording = pool[rng.integers(len(pool))]
            sign = 1 - 2 * plan.size[clip, step]
            gain = 10 ** ((sign * params.loudness_db + params.loudness_spread_db * rng.standard_normal()) / 20)
            sound = recording.spectrum
            references[clip, step] = recording.reference
        # the transform is linear, so speech and noise may be added after it
        start = rng.integers(len(noise) - len(sound))
        mixed = np.float32(gain) * sound + noise[start : start + len(sound)]
        features[clip, step] = mel_quarters(mixed, filters)
    return features, np.array([kinds[name] for name in voice]), references


def mel_quarters(spectrum: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Log power in each mel band and quarter of a recording ``[frames, frequencies]``, flat."""
    power = spectrum.real**2 + spectrum.imag**2
    bounds = np.linspace(0, len(power), _QUARTERS + 1).astype(int)
    quarters = np.stack([power[a:b].mean(axis=0) for a, b in pairwise(bounds)])
    return np.log(product(quarters, filters) + 1e-3).ravel()


def image_splits(count: int) -> np.ndarray:
    """Split number of each image, in file order: two thirds train, a sixth validates, a sixth tests."""
    return np.digitize(np.arange(count), [count * 4 // 6, count * 5 // 6])


def _video(plan: _Plan, params: DigitsParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.ndimage import grey_dilation, grey_erosion
    from sklearn.datasets import load_digits

    rng = np.random.default_rng([params.seed, 2])
    data = load_digits()
    pixels = (data.images / 16).astype(np.float32)
    bold, thin = grey_dilation(pixels, size=(1, 3, 3)), grey_erosion(pixels, size=(1, 2, 2))
    owner = image_splits(len(pixels))
    chosen = np.full(plan.digit.shape, -1)
    for split in range(3):
        for digit in range(10):
            here = (plan.digit == digit) & (plan.split == split)[:, None]
            chosen[here] = rng.choice(np.flatnonzero((owner == split) & (data.target == digit)), here.sum())
    shown = chosen >= 0
    image = chosen[shown]
    sign = 1 - 2 * plan.size[shown]
    weight = sign * params.boldness + params.boldness_spread * rng.standard_normal(len(image))
    weight = np.clip(weight, -1, 1).astype(np.float32)[:, None, None]
    frames = np.zeros((*plan.digit.shape, 8, 8), np.float32)
    change = np.where(weight > 0, bold[image] - pixels[image], pixels[image] - thin[image])
    frames[shown] = pixels[image] + weight * change

    light = rng.integers(len(LIGHTS), size=len(plan.split))
    down, right = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 8), indexing="ij")
    slopes = np.stack([-down, down, -right, right])[light][:, None]
    strength = params.light + params.light_spread * rng.standard_normal((*plan.digit.shape, 1, 1))
    frames += (strength * slopes).astype(np.float32)
    frames += np.float32(params.pixel_noise) * rng.standard_normal(frames.shape, np.float32)
    references = np.where(shown, np.char.add("digits:", chosen.astype(str)), "")
    return patches(frames, params), light, references


def patches(frames: np.ndarray, params: DigitsParams) -> np.ndarray:
    """Features ``[n, T, 4, 4, D]`` of frames ``[n, T, 8, 8]``."""
    rng = np.random.default_rng([params.seed, 3])
    projections = rng.standard_normal((_CELLS * _CELLS, _PATCH * _PATCH, params.image_dim), np.float32) / _PATCH
    edge = (_PATCH - 8 // _CELLS) // 2
    padded = np.pad(frames, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH), axis=(2, 3))
    windows = windows[:, :, :: 8 // _CELLS, :: 8 // _CELLS]
    cells = windows.reshape(-1, _CELLS * _CELLS, _PATCH * _PATCH).transpose(1, 0, 2)
    features = np.maximum(product(cells, projections), 0).transpose(1, 0, 2)
    return features.reshape(*frames.shape[:2], _CELLS, _CELLS, params.image_dim)


def _text(plan: _Plan, params: DigitsParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([params.seed, 4])
    styles = list(WORDINGS.values())
    wording = rng.integers(len(styles), size=len(plan.split))
    features = np.empty((*plan.digit.shape, params.word_dim), np.float32)
    references = np.empty(plan.digit.shape, "<U48")
    for clip, step in np.ndindex(*plan.digit.shape):
        names, fillers = styles[wording[clip]]
        digit = plan.digit[clip, step]
        word = names[digit] if digit >= 0 else fillers[rng.integers(len(fillers))]
        if digit >= 0 and rng.random() < params.size_words:
            word = f"{SIZES[plan.size[clip, step]]}-{word}"
        word = _mistype(rng, word, params.typos)
        features[clip, step] = word_vector(word, params.word_dim)
        references[clip, step] = f"word:{word}"
    return features, wording, references


def _mistype(rng: np.random.Generator, word: str, rate: float) -> str:
    """Replace, double or drop letters, each with probability ``rate``; never leaves nothing."""
    letters = []
    for letter, wrong, kind in zip(word, rng.random(len(word)) < rate, rng.integers(3, size=len(word)), strict=True):
        stray = chr(ord("a") + int(rng.integers(26)))
        letters.append((stray, letter * 2, "")[kind] if wrong else letter)
    return "".join(letters) or word
