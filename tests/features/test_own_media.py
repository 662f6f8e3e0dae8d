"""Own words, pictures and sounds have the very features that the store's front ends make of the same."""

import numpy as np
import pytest

from srcid.features.checks import StoreError
from srcid.features.front_ends import FRONT_ENDS, RATE, measure_scale, standardised
from srcid.features.own import own_front
from srcid.features.store import FeatureStore
from tests.helpers import tiny_store

STEPS, SECONDS = 4, 0.25


@pytest.fixture(scope="module")
def raw():
    """Steps of 12 clips by modality, as front ends take them."""
    draw = np.random.default_rng(0)
    names = ["ant", "bee", "cat", "dog"]
    return {
        "audio": draw.normal(size=(12, STEPS, round(RATE * SECONDS))).astype(np.float32),
        "video": draw.integers(256, size=(12, STEPS, 1, 64, 64, 3), dtype=np.uint8),
        "text": [[names[(clip + step) % 4] for step in range(STEPS)] for clip in range(12)],
    }


def made(path, raw, scaled=True, **provenance):
    values = {m: np.stack([FRONT_ENDS[m](clip) for clip in clips]) for m, clips in raw.items()}
    scales = {m: measure_scale(x, np.arange(12)) for m, x in values.items()}
    facts = dict(front_ends={m: FRONT_ENDS[m].facts() for m in raw}, seconds=SECONDS, name="media")
    facts |= {"scales": scales} if scaled else {}
    features = {m: standardised(x, scales[m]) if scaled else x for m, x in values.items()}
    splits = {"train": np.arange(6), "val": np.arange(6, 9), "test": np.arange(9, 12)}
    return FeatureStore.create(path, features, splits=splits, provenance=facts | provenance)


@pytest.mark.parametrize("scaled", [True, False])
def test_what_is_in_the_store_comes_out_as_there(raw, tmp_path, scaled):
    store = made(tmp_path / "store", raw, scaled)
    front, there = own_front(store), store.batch(np.array([5]))
    own = {
        "text": front.word(" ".join(raw["text"][5])),
        "audio": front.sound(raw["audio"][5].ravel(), RATE),
        "video": front.picture(raw["video"][5, 0, 0]),
    }
    assert front.modalities == ("audio", "video", "text") and not front.draws
    for m in ("audio", "text"):
        np.testing.assert_allclose(own[m], there[m][0], atol=1e-4)
    np.testing.assert_allclose(own["video"][0], there["video"][0, 0], atol=1e-4)
    assert all(len(values) == STEPS for values in own.values())


def test_what_is_short_is_heard_again_and_few_words_are_spread(raw, tmp_path):
    front = own_front(made(tmp_path / "store", raw))
    said = front.word("ant bee")
    assert np.array_equal(said[0], said[1]) and np.array_equal(said[2], said[3]) and not np.allclose(said[0], said[2])
    short = raw["audio"][0, 0]
    np.testing.assert_allclose(front.sound(short, RATE), np.tile(front.sound(short, RATE)[:1], (STEPS, 1)), atol=1e-5)
    stereo = np.stack([short, short], axis=1)
    np.testing.assert_allclose(front.sound(stereo, RATE), front.sound(short, RATE), atol=1e-5)
    for problem, words in ((lambda: front.word(" "), "no word"), (lambda: front.sound(np.zeros(900), RATE), "silence")):
        with pytest.raises(StoreError, match=words):
            problem()


def test_features_of_other_networks_and_stores_that_do_not_say_are_refused(raw, tmp_path):
    with pytest.raises(StoreError, match=r"need.* features made here: digits, stamps, or media"):
        own_front(tiny_store(tmp_path / "plain"))
    other = {"name": "vgg19", "version": "1", "weights_sha256": "00"}
    mixed = {m: FRONT_ENDS[m].facts() for m in raw} | {"video": other}
    front = own_front(made(tmp_path / "mixed", raw, front_ends=mixed))
    assert front.modalities == ("audio", "text")
    with pytest.raises(StoreError, match="takes audio and text of yours, and no video"):
        front.picture(np.zeros((9, 9, 3), np.uint8))
    old = made(tmp_path / "old", raw)
    old.provenance = {name: value for name, value in old.provenance.items() if name != "seconds"}
    with pytest.raises(StoreError, match="earlier version"):
        own_front(old)
