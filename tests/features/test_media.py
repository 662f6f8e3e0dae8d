import numpy as np
import pytest
from scipy.io import wavfile

from srcid.features import FeatureStore
from srcid.features.media import Media, MediaError, audio, image, resolve, show, word


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    wavfile.write(folder / "ramp.wav", 100, np.arange(-100, 100, dtype=np.int16) * 300)
    wavfile.write(folder / "bytes.wav", 100, np.array([0, 128, 255], np.uint8))
    wavfile.write(folder / "float.wav", 100, np.array([0.5, -0.25], np.float32))
    wavfile.write(tmp_path / "secret.wav", 100, np.zeros(3, np.int16))
    return folder


def test_audio_is_cut_and_scaled(root):
    rate, samples = audio("wav:ramp.wav#0.5,1.5", root)
    assert rate == 100
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, np.arange(-50, 50) * 300 / 32768)
    assert len(audio("wav:ramp.wav", root)[1]) == 200
    np.testing.assert_allclose(audio("wav:bytes.wav", root)[1], [-1, 0, 127 / 128])
    np.testing.assert_allclose(audio("wav:float.wav", root)[1], [0.5, -0.25])


def test_digits_and_words_are_resolved():
    picture = image("digits:0")
    assert (picture.shape, picture.dtype, picture.max()) == ((8, 8), np.uint8, 239)
    assert word("word:seven") == "seven"
    assert resolve("word:a:b") == Media("word", "a:b")
    assert resolve("digits:3").kind == "image"
    rate, samples = resolve("voice:7").content
    assert rate == 8000 and samples.dtype == np.float32 and 0.85 < np.abs(samples).max() < 0.95
    assert resolve("") == Media("none", None)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("wav:../secret.wav", "leaves the media folder"),
        ("wav:/etc/hostname", "leaves the media folder"),
        ("wav:gone.wav", "found no .*gone.wav"),
        ("wav:ramp.wav#a,b", "need 'wav:FILE#START,STOP'"),
        ("digits:1797", "need 'png:FILE' or 'digits:0' to 'digits:1796'"),
        ("digits:-1", "need 'png:FILE'"),
        ("digits:x", "need 'png:FILE'"),
        ("voice:1350", "found 'voice:1350': found recording 1350, need 0 to 1349"),
        ("voice:-1", "need 0 to 1349"),
        ("smell:rose", "need KIND:LOCATOR"),
        ("seven", "need KIND:LOCATOR"),
    ],
)
def test_bad_references_are_refused(root, reference, message):
    with pytest.raises(MediaError, match=message):
        resolve(reference, root)


def test_asking_for_the_wrong_kind_is_refused(root):
    with pytest.raises(MediaError, match=r"need 'wav:\.\.\.'"):
        audio("word:seven", root)
    with pytest.raises(MediaError, match="need 'png:FILE'"):
        image("word:seven", root)


def test_show_finds_what_a_step_of_a_store_stands_for(root, tmp_path):
    media = np.array([["wav:ramp.wav#0.0,0.1", ""], ["word:hello", "digits:5"]])
    features = {m: np.arange(4.0).reshape(2, 2, 1) for m in ("a", "b")}
    store = FeatureStore.create(
        tmp_path / "store", features, splits={"all": [0, 1]}, media={"a": media}, media_root=root
    )
    assert len(show(store, "a", 0, 0).content[1]) == 10
    assert [show(store, "a", *at).kind for at in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        "audio",
        "none",
        "word",
        "image",
    ]
    assert show(store, "b", 0, 0) == Media("none", None)
    with pytest.raises(MediaError, match="no modality 'c'"):
        show(store, "c", 0, 0)
