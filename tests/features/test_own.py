"""Own words, pictures and sounds come out on the scale of the store's features, and near their digit."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from sklearn.datasets import load_digits

from srcid.features.checks import StoreError
from srcid.features.digits import DigitsParams, make_digits
from srcid.features.own import OwnDigits, read_picture, read_sound
from srcid.features.store import FeatureStore
from srcid.features.voices import RATE, spoken


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    small = DigitsParams(train=120, val=20, test=20, steps=6, typos=0.0)
    return make_digits(tmp_path_factory.mktemp("own") / "digits", small)


@pytest.fixture(scope="module")
def front(store):
    return OwnDigits(store)


def nearest_digit(store, modality, features):
    """The digit whose mean feature over the store's steps is nearest to the mean of ``features``."""
    event, values = np.asarray(store.labels["event"]), store.batch(np.arange(store.clips))[modality]
    centres = [values[event[..., d]].mean(axis=0).ravel() for d in range(10)]
    own = features.mean(axis=0).ravel()
    return int(np.argmin([((own - centre) ** 2).sum() for centre in centres]))


def test_a_word_has_the_very_features_that_it_has_in_the_store(store, front):
    clip, step = np.argwhere(np.asarray(store.media["text"]) == "word:seven")[0]
    there = store.batch(np.array([clip]))["text"][0, step]
    own = front.word(" Seven ")
    assert own.shape == (6, 64) and np.allclose(own, there, atol=1e-5)


def test_pictures_of_any_size_and_ground_are_near_their_digit(store, front):
    data = load_digits()
    held = len(data.target) * 5 // 6  # pictures of test clips
    right = 0
    for digit in range(10):
        picture = data.images[held:][data.target[held:] == digit][0] / 16
        large = np.pad(np.kron(picture, np.ones((9, 9))), ((20, 5), (3, 30)))
        dark, light = front.picture(255 * large), front.picture(255 * (1 - large))
        assert dark.shape == (6, 4, 4, 64) and np.allclose(dark, light, atol=1e-4)
        right += nearest_digit(store, "video", dark) == digit
    assert right >= 7


def test_sounds_at_any_rate_and_loudness_are_near_their_digit(store, front):
    right = 0
    for digit in range(10):
        said = spoken(digit)
        slow = np.interp(np.arange(0, len(said), RATE / 16_000), np.arange(len(said)), said)
        padded = np.concatenate([np.zeros(3000), 0.1 * slow, np.zeros(2000)])
        own = front.sound(np.stack([padded] * 2, axis=1), 16_000)
        assert own.shape == (6, 128)
        right += nearest_digit(store, "audio", own) == digit
    assert right >= 7


def test_files_are_read_and_what_is_none_is_said(front, tmp_path):
    picture, sound = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(picture, "PNG")
    wavfile.write(sound, 8000, (3000 * np.sin(np.arange(4000))).astype(np.int16))
    assert read_picture(picture.getvalue()).shape == (8, 8, 3)
    samples, rate = read_sound(sound.getvalue(), tmp_path)
    assert len(samples) == 4000 and rate == 8000 and not list(tmp_path.iterdir())
    for problem, words in (
        (lambda: read_picture(b"no picture"), "found no picture"),
        (lambda: read_sound(b"no sound", tmp_path), "found no sound"),
        (lambda: front.word("  "), "found no word"),
        (lambda: front.picture(np.ones((9, 9))), "empty picture"),
        (lambda: front.sound(np.zeros(8000), 8000), "need 0.032 s"),
    ):
        with pytest.raises(StoreError, match=words):
            problem()
    assert not list(tmp_path.iterdir())


def test_a_store_that_kept_no_scales_is_to_be_made_anew(store):
    old = FeatureStore.open(store.path)
    old.provenance = {name: value for name, value in store.provenance.items() if name != "scales"}
    with pytest.raises(StoreError, match="make it anew"):
        OwnDigits(old)
