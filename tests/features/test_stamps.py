"""Stamps: what is said of a picture, spoken and written, in one clip; look-alikes of the package, and the package."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from srcid.features import FeatureStore, StoreError, open_data
from srcid.features.media import MediaError, resolve
from srcid.features.source import check_data, fingerprint
from srcid.features.stamps import NATURAL, StampsParams, find_stamps, make_stamps, read_stamps, split_clips
from srcid.params import ParameterError
from tests.features import media_files as files

soundfile = pytest.importorskip("soundfile")
COUNT = 40
TONES = {"fr": 400, "es": 800, NATURAL: 1600}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A folder as ``dpkg -x`` unpacks the package: every fourth stamp has a sound of its own."""
    root = tmp_path_factory.mktemp("package")
    folder = root / "usr/share/tuxpaint/stamps"
    for n in range(COUNT):
        kind = ("animals/birds", "animals/fish", "food", "space")[n % 4]
        picture = files.picture(folder / f"{kind}/thing{n}.png", list(files.COLOURS)[n % 3], (70, 50))
        names = f"A thing number {n}.\nfr.utf8=Une chose {n}.\nes.utf8=Cosa {n}.\nzz.utf8=\n"
        picture.with_suffix(".txt").write_text(names, encoding="utf-8")
        for voice, hertz in TONES.items():
            end = picture.with_suffix(".ogg") if voice == NATURAL else picture.with_name(f"thing{n}_desc_{voice}.ogg")
            if voice != NATURAL or n % 4 == 0:
                soundfile.write(end, (1 - n / 100) * files.tone([hertz], 22_050)[: 22_050 * 7 // 8], 22_050)
    soundfile.write(folder / "food/thing2_desc_es.ogg", np.zeros(22_050, np.float32), 22_050)  # some are silent
    (folder / "food/thing6.txt").unlink()  # and some have no name
    return root


@pytest.fixture(scope="module")
def store(package, tmp_path_factory) -> FeatureStore:
    root = tmp_path_factory.mktemp("stores")
    return open_data("stamps", root, {"stamps": str(package), "languages": ("fr", "es")})


def test_a_clip_is_a_stamp_in_one_voice(store):
    voices = np.array(store.label_info["voice"].classes)[store.labels["voice"]]
    assert dict(zip(*np.unique(voices, return_counts=True), strict=True)) == {"es": 38, "fr": 39, NATURAL: 10}
    assert store.provenance["left_out"] == ["food/thing2_desc_es.ogg holds no sound"]
    assert store.shapes == {"audio": (128,), "video": (4, 4, 48), "text": (64,)} and store.steps == 6
    assert store.masks["audio"].sum(1).tolist() == store.masks["text"].sum(1).tolist() == [4] * 87  # 0.875 s
    assert store.masks["video"].all()
    row = store.ids.tolist().index("animals/birds/thing8 fr")
    assert store.media["text"][row].tolist() == ["word:Une", "word:Une", "word:chose", "word:8", "", ""]
    assert store.media["video"][row, 5] == "png:animals/birds/thing8.png"
    natural = store.ids.tolist().index(f"animals/birds/thing8 {NATURAL}")
    assert store.media["text"][natural, :4].tolist() == ["word:A", "word:thing", "word:number", "word:8"]
    languages = np.array(store.label_info["language"].classes)[store.labels["language"]]
    assert languages[natural] == "en" and languages[row] == "fr"
    assert store.label_info["event"].classes == ("animals", "food", "space") and store.labels["event"][row, :, 0].all()
    assert store.label_info["folder"].classes == ("animals/birds", "animals/fish", "food", "space")
    assert store.label_info["voice"].visible_in == ("audio",) and store.label_info["mirrored"].visible_in == ("video",)


def test_a_stamp_is_one_item_in_one_split(store):
    owner = {}
    for split, rows in store.splits.items():
        for item in store.labels["item"][rows]:
            assert owner.setdefault(int(item), split) == split
    assert len(owner) == COUNT - 1 and set(owner.values()) == {"train", "val", "test"}
    for category in range(3):  # each category is in each split
        for rows in store.splits.values():
            assert store.labels["event"][rows, 0, category].any()
    names = np.array(store.label_info["item"].classes)[store.labels["item"]]
    assert [i.rpartition(" ")[0].removesuffix(" natural") for i in store.ids] == names.tolist()


def test_stamps_that_sound_or_read_the_same_are_in_one_split():
    rows = []
    for n in range(120):
        item = n // 2
        audio = item if item % 10 else item // 20  # items 0 and 10, 20 and 30, 40 and 50
        text = 1000 if item % 7 == 0 else n
        features = {"audio": np.full((2, 3), audio + n % 2 / 2), "text": np.full((2, 3), text)}
        rows.append({"id": f"{item} {n}", "item": item, "folder": f"{'abc'[item % 3]}/x", "features": features})
    splits = split_clips(rows)
    assert (splits[::2] == splits[1::2]).all()  # two clips of a stamp
    of_item = splits[::2]
    assert len({*of_item[::7], *of_item[[0, 10]]}) == 1  # one text
    assert of_item[20] == of_item[30] and of_item[40] == of_item[50]  # one sound
    for category in range(3):
        assert {"train", "val", "test"} == set(of_item[category::3])
    assert [round(float((of_item == split).mean()), 1) for split in ("train", "val", "test")] == pytest.approx(
        [0.7, 0.1, 0.2], abs=0.11
    )
    assert (splits == split_clips(rows)).all()


def test_what_is_heard_seen_and_read_is_what_the_features_say(store):
    for row in (3, 20, 50):
        voice = store.label_info["voice"].classes[store.labels["voice"][row]]
        rate, samples = resolve(store.media["audio"][row, 1], store.media_root).content
        assert len(samples) == round(rate / 4)
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        assert np.fft.rfftfreq(len(samples), 1 / rate)[power.argmax()] == pytest.approx(TONES[voice], abs=8)
        seen = resolve(store.media["video"][row, 0], store.media_root).content
        assert seen.shape == (50, 70, 3)
    same = [row for row in range(store.clips) if store.labels["voice"][row] == store.labels["voice"][3]]
    other = next(row for row in range(store.clips) if store.labels["voice"][row] != store.labels["voice"][3])
    sounds = store.features["audio"][:, 1]
    assert np.linalg.norm(sounds[same[0]] - sounds[same[-1]]) < 0.2 * np.linalg.norm(sounds[3] - sounds[other])
    train = store.splits["train"]
    for m in store.modalities:
        values = store.features[m][train][store.masks[m][train]].reshape(-1, store.shapes[m][-1])
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-4)
        assert not store.features[m][~store.masks[m]].any()


def test_equal_files_and_parameters_make_equal_stores(store, package, tmp_path):
    options = {"stamps": str(package), "languages": ("fr", "es")}
    again = make_stamps(tmp_path / "again", StampsParams(**options))
    assert again.checksum == store.checksum
    moved = tmp_path / "moved"
    (moved / "usr").parent.mkdir()
    (moved / "usr").symlink_to(package / "usr")
    assert fingerprint("stamps", options) == fingerprint("stamps", options | {"stamps": str(moved)})
    assert fingerprint("stamps", options) != fingerprint("stamps", options | {"seed": 1})
    other = make_stamps(tmp_path / "other", StampsParams(**options, seed=1))
    assert (other.features["audio"][:] == again.features["audio"][:]).all()
    assert not (other.features["video"][:] == again.features["video"][:]).all()


def test_what_cannot_be_used_is_named_with_what_to_install(package, tmp_path):
    with pytest.raises(StoreError, match=r"found no pictures in folders of .*\n?.*tuxpaint-stamps-default"):
        find_stamps(tmp_path)
    assert "tuxpaint-stamps-default" in check_data("stamps", tmp_path, {"stamps": str(tmp_path)})[0]
    assert check_data("stamps", tmp_path, {"stamps": str(package)}) == []
    with pytest.raises(StoreError, match="found no stamp with a voice of xx"):
        make_stamps(tmp_path / "no", StampsParams(stamps=str(package), languages=("xx",), natural=False))
    with pytest.raises(ParameterError, match="languages"):
        open_data("stamps", tmp_path, {"stamps": str(package), "languages": ()})
    with pytest.raises(ValidationError):
        StampsParams(zoom=0)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_sounds_are_references_of_their_own(package):
    folder = find_stamps(package)
    rate, samples = resolve("sound:food/thing10_desc_fr.ogg#0.5,0.75", folder).content
    assert rate == 22_050 and len(samples) == 5512 and np.abs(samples).max() == pytest.approx(0.3, abs=0.03)
    assert len(resolve("sound:food/thing10_desc_fr.ogg", folder).content[1]) == 22_050 * 7 // 8
    for reference, said in (
        ("sound:food/thing10.png#0,1", "cannot be read as a sound"), ("sound:../x.ogg#0,1", "leaves the media folder"),
        ("sound:absent.ogg#0,1", "found no"), ("sound:food/thing10_desc_fr.ogg#1,0", "need 'sound:FILE#START,STOP'"),
    ):  # fmt: skip
        with pytest.raises(MediaError, match=said):
            resolve(reference, folder)


@pytest.fixture
def real() -> Path:
    """The package itself, where Debian puts it or at SRCID_STAMPS."""
    try:
        return find_stamps(os.environ.get("SRCID_STAMPS") or StampsParams().stamps)
    except StoreError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


def test_the_real_package(real, tmp_path):
    found = read_stamps(real, StampsParams())
    assert len(found) > 700 and sum(NATURAL in stamp.voices for stamp in found) > 100
    by_name = {stamp.name: stamp for stamp in found}
    assert by_name["animals/birds/blackbird"].names["es"] == "Un mirlo."
    options = StampsParams(stamps=str(real), languages=("nl",), natural=False)  # 67 names of animals
    store = make_stamps(tmp_path / "store", options)
    assert 50 < store.clips < 80 and len(store.label_info["folder"].classes) > 1
