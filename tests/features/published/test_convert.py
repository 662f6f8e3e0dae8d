"""`convert`: published layouts become stores, and what lacks is said."""

import io
import json
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from srcid.__main__ import main
from srcid.features import FeatureStore, StoreError, audit
from srcid.features.published import LAYOUTS, archives, convert
from tests.features.published import published_files as files

ROWS = [("train", "dog", f"train{i}") for i in range(5)] + [("val", "cat", "val0"), ("test", "dog", "test0")]


def made(*arguments, **options):
    return convert(*arguments, progress=io.StringIO(), **options)


@pytest.fixture
def vgg(tmp_path):
    return files.vggsound(tmp_path / "vgg", ROWS)


@pytest.fixture
def small(monkeypatch):
    """The list of a test is as short as it likes."""
    monkeypatch.setitem(LAYOUTS, "vggsound-avel40k", lambda found, options: _without_expectation(found, options))


_PLAN = LAYOUTS["vggsound-avel40k"]


def _without_expectation(found, options):
    plan = _PLAN(found, options)
    plan.expected = 0
    return plan


def test_vggsound_with_sentences(vgg, small, tmp_path):
    text = files.sentences(tmp_path / "text.npz", ["cat", "dog"])
    done = made("vggsound-avel40k", vgg, tmp_path / "store", text=text)
    store = FeatureStore.open(tmp_path / "store")
    assert done.audit.usable and done.audit.verdict == ("all 7 clips of the list have features",)
    assert store.modalities == ("audio", "video", "text") and store.shapes["video"] == (7, 7, 512)
    assert store.ids.tolist() == [row[2] for row in ROWS]
    assert {name: rows.tolist() for name, rows in store.splits.items()} == {
        "train": [0, 1, 2, 3, 4], "val": [5], "test": [6],
    }  # fmt: skip
    for number in range(len(ROWS)):
        for name in files.SHAPES:
            np.testing.assert_array_equal(store.features[name][number], files.features(name, number).astype("f4"))
    assert store.label_info["event"].classes == ("cat", "dog")
    assert store.labels["event"][0].T.tolist() == [[False] * 10, [False] * 2 + [True] * 8]
    assert store.labels["category"].tolist() == [1] * 5 + [0, 1]
    assert store.masks["text"].sum(1).tolist() == [2] * 5 + [1, 2]
    assert store.features["text"][0, :3, 0].tolist() == [2, 2, 0] and store.media["text"][0, 1] == "word:w1"
    assert store.provenance["audit"]["splits"]["train"] == {"listed": 5, "found": 5, "used": 5}
    assert json.loads(done.audit_files[0].read_text())["usable"] is True
    assert not list(tmp_path.glob(".store*"))


def test_float16_halves_the_room_and_equal_files_give_equal_stores(vgg, small, tmp_path):
    stores = [
        made("vggsound-avel40k", vgg, tmp_path / f"store{number}", dtype=dtype).store
        for number, dtype in enumerate(("float32", "float32", "float16"))
    ]
    assert stores[0].checksum == stores[1].checksum != stores[2].checksum
    assert stores[2].features["video"].dtype == np.float16
    np.testing.assert_allclose(stores[2].batch([3])["audio"], stores[0].batch([3])["audio"], rtol=1e-3)


def test_one_archive_for_all_modalities(small, tmp_path):
    files.listing(tmp_path / "in/vggsound-avel40k.csv", ("split", "category", "video_id"), ROWS)
    for number, (*_, clip) in enumerate(ROWS):
        held = {name: files.features(name, number) for name in files.SHAPES} | {"label": np.ones(10)}
        files.archive(tmp_path / f"in/zip/{clip}.zip", held)
    store = made("vggsound-avel40k", tmp_path / "in", tmp_path / "store").store
    np.testing.assert_array_equal(store.features["audio"][6], files.features("audio", 6).astype("f4"))
    assert store.labels["event"].any(-1).all()


def test_short_clips_repeat_their_last_row_and_long_ones_are_cut(vgg, small, tmp_path):
    zipped = vgg / "feature/audio/zip"
    files.archive(zipped / "train0.zip", files.features("audio", 0, steps=4))
    files.archive(zipped / "train1.zip", files.features("audio", 1, steps=13))
    done = made("vggsound-avel40k", vgg, tmp_path / "store")
    audio = done.store.features["audio"]
    np.testing.assert_array_equal(audio[0, 4:], np.broadcast_to(audio[0, 3], (6, 128)))
    np.testing.assert_array_equal(audio[1], files.features("audio", 1).astype("f4"))
    assert done.audit.short == {"audio": {"train0": 4}} and done.audit.long == {"audio": {"train1": 13}}
    assert done.audit.usable and "their last step is repeated: train0 (4)" in done.audit.text()


def test_missing_clips_are_the_verdict_before_a_feature_is_read(vgg, small, tmp_path, capsys):
    for clip in ("train0", "train3"):
        (vgg / f"feature/audio/zip/{clip}.zip").unlink()
    (vgg / "feature/label/zip/test0.zip").unlink()
    files.archive(vgg / "feature/audio/zip/other.zip", files.features("audio", 9))
    files.archive(vgg / "more/audio/train1.zip", files.features("audio", 9))
    (vgg / "feature/video/zip/train1.zip").write_text("would be refused")
    assert main(["convert", "vggsound-avel40k", str(vgg), str(tmp_path / "store")]) == 1
    said, wrong = capsys.readouterr()
    lines = said.splitlines()
    assert lines[1].strip() == "2 of 5 clips of the train list have no features"
    assert lines[2].strip() == "1 of 1 clips of the test list have no features"
    assert "audio: 2 clips have no file: train0, train3" in said and "label: 1 clips" in said
    assert "audio: 1 files belong to no row of the list: other" in said and "more/audio/train1.zip" in said
    assert "--allow-missing" in wrong and not (tmp_path / "store").exists()
    kept = json.loads((tmp_path / "store.audit.json").read_text())
    assert kept["missing"]["audio"] == ["train0", "train3"]
    assert kept["classes"]["dog"]["train"] == {"listed": 5, "found": 3, "used": 0}
    assert (tmp_path / "store.audit.txt").read_text() in said


def test_it_goes_on_without_them_when_told(vgg, small, tmp_path, capsys):
    (vgg / "feature/audio/zip/train0.zip").unlink()
    files.archive(vgg / "feature/video/zip/train1.zip", files.features("video", 1)[..., :500])
    files.archive(vgg / "feature/audio/zip/train2.zip", np.full((10, 128), np.nan))
    files.archive(vgg / "feature/label/zip/val0.zip", np.ones(9))
    assert main(["convert", "vggsound-avel40k", str(vgg), str(tmp_path / "store"), "--allow-missing"]) == 0
    store = FeatureStore.open(tmp_path / "store")
    assert sorted(store.ids) == ["test0", "train3", "train4"]
    for row, clip in enumerate(store.ids):
        number = [c for *_, c in ROWS].index(clip)
        np.testing.assert_array_equal(store.features["video"][row], files.features("video", number).astype("f4"))
        assert store.label_info["category"].classes[store.labels["category"][row]] == ROWS[number][1]
        assert row in store.splits[ROWS[number][0]]
    assert set(store.splits) == {"train", "test"}
    audit = store.provenance["audit"]
    assert audit["verdict"][0] == "1 of 5 clips of the train list have no features" and not audit["usable"]
    assert audit["splits"]["train"] == {"listed": 5, "found": 4, "used": 2}
    said = capsys.readouterr().out
    assert "train1.zip: found video float64 [10, 7, 7, 500], need numbers [t, 7, 7, 512]" in said
    assert "train2.zip: found 1280 values of audio that are not finite" in said
    assert "val0.zip: found label" in said


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_a_malicious_archive_is_named_and_does_nothing(vgg, small, tmp_path):
    files.archive(vgg / "feature/video/zip/train2.zip", pickle.dumps(Evil(tmp_path / "ran")))
    done = made("vggsound-avel40k", vgg, tmp_path / "store")
    assert done.store is None and not (tmp_path / "ran").exists()
    assert list(done.audit.refused) == ["train2"] and done.audit.splits["test"]["used"] == 1
    assert not list(tmp_path.glob(".store*"))
    assert "train2.zip: it asks for posix.system" in done.audit.text()
    files.archive(vgg / "feature/video/zip/train2.zip", files.features("video", 2))
    assert made("vggsound-avel40k", vgg, tmp_path / "store").store.clips == 7


def test_values_beyond_float16_are_refused_in_it(vgg, small, tmp_path):
    files.archive(vgg / "feature/audio/zip/train2.zip", files.features("audio", 2) * 1e5)
    done = made("vggsound-avel40k", vgg, tmp_path / "half", dtype="float16")
    assert done.store is None and "not finite as float16" in done.audit.refused["train2"]
    assert made("vggsound-avel40k", vgg, tmp_path / "whole").store is not None


def test_clips_that_repeat_or_never_change_are_noted(vgg, small, tmp_path):
    files.archive(vgg / "feature/audio/zip/train2.zip", files.features("audio", 4))
    files.archive(vgg / "feature/audio/zip/train3.zip", np.ones((10, 128)))
    audit = made("vggsound-avel40k", vgg, tmp_path / "store").audit
    assert audit.identical == {"audio": [["train2", "train4"]]} and audit.constant == {"audio": ["train3"]}
    assert audit.usable and "do not change over time: train3" in audit.text()


def test_a_list_of_half_its_rows_is_found_out(vgg, tmp_path):
    done = made("vggsound-avel40k", vgg, tmp_path / "store")
    assert done.store is None
    assert done.audit.verdict == ("the list has 7 rows, this data set has about 40,000",)


def test_rows_listed_twice_and_sentences_without_words(small, tmp_path):
    root = files.vggsound(tmp_path / "vgg", [*ROWS, ROWS[0]])
    values = np.zeros((2, 4, 768), np.float32)
    values[0, 0] = 1
    np.savez(tmp_path / "text.npz", features=values, names=["cat", "dog"])
    done = made("vggsound-avel40k", root, tmp_path / "store", text=tmp_path / "text.npz", allow_missing=True)
    assert done.audit.verdict == ("1 of 2 sentences have no known word: dog",)
    assert "1 rows of vggsound-avel40k.csv name a clip again, the first one counts: train0" in done.audit.notes
    assert done.store.masks["text"].sum(1).tolist() == [0] * 5 + [1, 0]
    assert made("vggsound-avel40k", root, tmp_path / "strict", text=tmp_path / "text.npz").store is None


def test_larger_lists_without_categories(vgg, tmp_path):
    rows = [[f"{clip}.mp4"] for *_, clip in ROWS]
    listed = files.listing(tmp_path / "video_name_vggsound179k_checked.csv", ["id"], rows)
    done = made("vggsound-avel179k", vgg, tmp_path / "store", clip_list=listed, allow_missing=True)
    assert not done.store.labels and done.store.splits["train"].tolist() == list(range(7))
    assert "names no categories" in done.audit.text() and "about 179,000" in done.audit.text()


def test_ave_on_its_real_lists_and_sounds(shared, tmp_path):
    import h5py

    data = shared / "data" / "ave"
    with h5py.File(data / "audio_feature_noisy.h5") as held:
        sounds = held["avadataset"][:40]
    lines = (data / "Annotations.txt").read_text().splitlines()[: len(sounds)] + ["Bark&x&good&2&5", "Bark&x&good&7&9"]
    sounds = np.concatenate([sounds, sounds[:2] + 1])
    order = {"train": np.arange(0, 42, 2), "val": np.arange(1, 42, 4), "test": np.arange(3, 42, 4)}
    root = files.ave(tmp_path / "ave", lines, order, sounds)
    done = made("ave", root, tmp_path / "store", allow_missing=True)
    assert done.audit.verdict == ("the list has 42 rows, this data set has about 4,143",)
    store = done.store
    np.testing.assert_array_equal(store.features["audio"], sounds.astype("f4"))
    assert store.label_info["event"].classes == ("Church bell", "Bark")  # however labels.h5 orders them
    church, bark = store.labels["event"][1], store.labels["event"][40]
    assert church[:, 0].nonzero()[0].tolist() == [6, 7] and bark[:, 1].nonzero()[0].tolist() == [2, 3, 4]
    assert store.ids[40:].tolist() == ["x", "x#2"]
    assert store.splits["val"].tolist() == order["val"].tolist()
    assert "for another event in it; 1 videos are in more than one split: x" in done.audit.text()

    shared_classes = made("ave12", root, tmp_path / "ave12").store
    assert shared_classes.clips == 2 and len(shared_classes.label_info["event"].classes) == 12
    assert shared_classes.labels["event"].any((0, 1)).nonzero()[0].tolist() == [6]  # Bark is AVVP's Dog
    np.testing.assert_array_equal(shared_classes.features["audio"], sounds[40:].astype("f4"))


def test_ave_files_that_do_not_fit_each_other_are_all_named(shared, tmp_path):
    lines = (shared / "data" / "ave" / "Annotations.txt").read_text().splitlines()[:3] + ["Bark&x&good&0&10"]
    root = files.ave(tmp_path / "ave", lines, {"train": [0, 1], "val": [1], "test": [3]}, np.zeros((4, 10, 64)))
    labels = np.zeros((4, 10, 3))
    labels[:, :, 0] = 1
    files.hdf5(root / "data" / "labels.h5", labels)
    with pytest.raises(StoreError) as caught:
        made("ave", root, tmp_path / "store")
    said = str(caught.value)
    assert "audio_feature.h5: found 'avadataset' [4, 10, 64], need [4, 10, 128]" in said
    assert "val_order.h5: row 1 is in train too" in said
    assert "a column marks clips of Bark, Church bell" in said


def test_avvp_on_its_real_lists(shared, tmp_path):
    root = tmp_path / "avvp"
    shutil.copytree(shared / "data" / "avvp", root)
    clips = ["KSRjje7GH44_60_70", "McVcuryKUp4_160_170", "4O9rI-FpqLg_10_20"]
    for name in files.SHAPES:
        for number, clip in enumerate(clips):
            files.archive(root / name / f"{clip[:11]}.zip", files.features(name, number))
    done = made("avvp", root, tmp_path / "store", allow_missing=True)
    assert done.audit.verdict[:1] == ("10,000 of 10,000 clips of the train list have no features",)
    assert done.audit.splits["test"] == {"listed": 1200, "found": 2, "used": 2}
    assert any("8 clips are neither validation nor test clips" in note for note in done.audit.notes)
    store = done.store
    row = store.ids.tolist().index(clips[0])
    classes = store.label_info["event_audio"].classes
    blender, speech = classes.index("Blender"), classes.index("Speech")
    assert (
        store.labels["event_audio"][row, :, speech].sum() == 8 and store.labels["event_audio"][row, 8:, blender].all()
    )
    assert store.labels["event_video"][row, :, blender].all() and not store.labels["event_video"][row, :, speech].any()
    np.testing.assert_array_equal(store.labels["event"], store.labels["event_audio"] | store.labels["event_video"])
    assert store.label_info["event_video"].visible_in == ("video",)
    assert store.labels["supervision"].tolist() == [1, 1, 1] and set(store.splits) == {"val", "test"}

    twelve = made("avvp12", root, tmp_path / "avvp12", allow_missing=True)
    assert sorted(twelve.store.ids) == sorted(clips)
    assert "Blender" not in twelve.store.label_info["event"].classes
    assert twelve.audit.splits["train"]["listed"] < 10_000


def test_avvp_training_clips_hold_their_weak_labels_throughout(tmp_path):
    columns, timed = ("filename", "event_labels"), ("filename", "event_labels", "onset", "offset")
    for name, rows in {
        "train": [("a_0_10", "Dog,Cat")],
        "val_pd": [("b_0_10", "Dog")],
        "test_pd": [("c_0_10", "Car"), ("d_0_10", "Cat")],  # when the cat is, nobody says
    }.items():
        files.listing(tmp_path / f"in/AVVP_{name}.csv", columns, rows, "\t")
    files.listing(tmp_path / "in/AVVP_eval_audio.csv", timed, [("b_0_10", "Dog", 2, 4)], "\t")
    files.listing(tmp_path / "in/AVVP_eval_visual.csv", timed, [("c_0_10", "Car", 0, 1)], "\t")
    for name in files.SHAPES:
        for number, clip in enumerate("abcd"):
            files.archive(tmp_path / f"in/{name}/{clip}_0_10.zip", files.features(name, number))
    store = made("avvp", tmp_path / "in", tmp_path / "store").store
    for name in ("event", "event_audio", "event_video"):
        assert store.labelled[name].all(1).tolist() == store.labelled[name].any(1).tolist() == [True] * 3 + [False]
    held = store.labels["event"].sum(1)
    names = store.label_info["event"].classes
    assert {(str(store.ids[i]), names[c]): int(held[i, c]) for i, c in np.argwhere(held)} == {
        ("a_0_10", "Dog"): 10, ("a_0_10", "Cat"): 10, ("b_0_10", "Dog"): 2, ("c_0_10", "Car"): 1,
    }  # fmt: skip
    assert store.labels["supervision"].tolist() == [0, 1, 1, 1]


def test_ucf_and_vggsound_share_sixteen_classes_by_the_order_of_two_files(tmp_path):
    root = tmp_path / "in"
    files.listing(root / "UCF101sameVGGSound.txt", ["PlayingCello"], [["Skiing"]])
    files.listing(root / "VGGSoundsameUCF101.txt", ["playing cello"], [["skiing"]])
    groups = [
        ("Skiing", "v_Skiing_g03_c01"),
        ("PlayingCello", "v_PlayingCello_g09_c02"),
        ("Skiing", "v_Skiing_g20_c01"),
    ]
    files.listing(root / "ucf2vggsound.csv", ("category", "video_id"), groups)
    files.listing(root / "vggsound2ucf.csv", ("category", "video_id"), [("skiing", f"s{i}") for i in range(20)])
    for number, (_, clip) in enumerate(groups):
        files.archive(root / f"UCF101/video/{clip}.zip", files.features("video", number, steps=3))
    for number in range(20):
        files.archive(root / f"vgg/audio/s{number}.zip", files.features("audio", number))
    pictures, sounds = (made(name, root, tmp_path / name).store for name in ("ucf16", "vggsound16"))
    assert pictures.modalities == ("video",) and sounds.modalities == ("audio",)
    assert pictures.label_info["event"].classes == sounds.label_info["event"].classes == ("playing cello", "skiing")
    assert pictures.labels["category"].tolist() == [1, 0, 1] and set(sounds.labels["category"]) == {1}
    assert {name: rows.tolist() for name, rows in pictures.splits.items()} == {"test": [0], "val": [1], "train": [2]}
    assert set(sounds.splits) == {"train", "val", "test"}
    files.listing(root / "UCF101sameVGGSound.txt", ["PlayingCello"], [])
    with pytest.raises(StoreError, match="1 and 2 lines"):
        made("ucf16", root, tmp_path / "odd")


def test_captions_repeat_their_item(tmp_path):
    root = tmp_path / "coco"
    ids = files.coco(root, {7: ["a dog", "a cat", "a bird"], 3: ["a car"], 9: ["gone"]})
    (root / "feature/zip/000000000009.zip").unlink()
    text = files.sentences(tmp_path / "text.npz", ids[::-1])
    done = made("mscoco", root, tmp_path / "store", text=text, allow_missing=True)
    store = done.store
    assert done.audit.verdict == ("1 of 5 clips of the test list have no features",)
    assert store.ids.tolist() == [f"{7:012d}#1", f"{7:012d}#2", f"{7:012d}#3", f"{3:012d}#1"]
    assert store.labels["item"].tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(store.features["video"][0], store.features["video"][2])
    assert store.masks["text"].sum(1).tolist() == [5, 4, 3, 2]  # the sentences lie in another order
    assert not done.audit.identical and store.splits["test"].tolist() == [0, 1, 2, 3]
    problems = audit(store).problems
    assert "conversion: 1 of 5 clips of the test list have no features" in problems
    assert not any("duplicate" in problem for problem in problems)


def test_clotho_captions_are_scored_by_item(tmp_path):
    from srcid.evaluation.ranking import retrieve

    root = tmp_path / "clotho"
    columns = ("file_name", *(f"caption_{i}" for i in range(1, 6)))
    for split, names in {"development": ("a", "b"), "evaluation": ("c", "d")}.items():
        rows = [[f"{name}.wav", *(f"{name} {i}" for i in range(5))] for name in names]
        files.listing(root / f"clotho_captions_{split}.csv", columns, rows)
    for number, name in enumerate("abcd"):
        files.archive(root / f"audio/{name}.zip", files.features("audio", number, steps=25))
    values = np.zeros((20, 6, 768), np.float32)
    values[np.arange(20), 0, np.arange(20) // 5] = 1
    np.save(tmp_path / "text.npy", values)  # in the order of the lists
    store = made("clotho", root, tmp_path / "store", text=tmp_path / "text.npy").store
    assert store.clips == 20 and len(store.splits["train"]) == len(store.splits["test"]) == 10
    item, first = store.labels["item"], np.unique(store.labels["item"], return_index=True)[1]
    captions = store.features["text"].sum(1)
    found, _ = retrieve(captions[first], captions, item)
    assert found.recall[1] == 100
    np.save(tmp_path / "short.npy", values[:7])
    with pytest.raises(StoreError, match="found 7 sentences and 20 of the list"):
        made("clotho", root, tmp_path / "other", text=tmp_path / "short.npy")
    with pytest.raises(StoreError, match="give them by --text"):
        made("clotho", root, tmp_path / "other")


def test_the_page_on_data_describes_every_layout():
    page = (Path(__file__).resolve().parents[3] / "data" / "README.md").read_text(encoding="utf-8")
    assert len(LAYOUTS) == 11 and [name for name in LAYOUTS if f"`{name}`" not in page] == []


def test_bad_requests_are_all_named_at_once(vgg, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(StoreError) as caught:
        made("vgg", vgg, tmp_path / "taken", dtype="int8")
    said = str(caught.value)
    assert len(caught.value.problems) == 3 and "need one of vggsound-avel40k" in said and "never overwritten" in said
    with pytest.raises(StoreError, match=r"no file annotations\.txt below"):
        made("ave", vgg, tmp_path / "store")
    with pytest.raises(StoreError, match="found no folder"):
        made("ave", tmp_path / "absent", tmp_path / "store")
    with pytest.raises(StoreError, match=r"found no file .*absent\.csv"):
        made("vggsound-avel40k", vgg, tmp_path / "store", clip_list=tmp_path / "absent.csv")
    files.listing(tmp_path / "odd.csv", ("name",), [["x"]])
    with pytest.raises(StoreError, match=r"odd\.csv: found columns name, need video_id or id"):
        made("vggsound-avel40k", vgg, tmp_path / "store", clip_list=tmp_path / "odd.csv")


def test_a_changed_file_is_read_anew(vgg, small, tmp_path):
    text = files.sentences(tmp_path / "text.npz", ["cat", "dog"])
    first = made("vggsound-avel40k", vgg, tmp_path / "first", text=text).store
    files.sentences(text, ["dog", "cat"])
    files.archive(vgg / "feature/audio/zip/test0.zip", files.features("audio", 77))
    second = made("vggsound-avel40k", vgg, tmp_path / "second", text=text).store
    assert first.masks["text"].sum(1).tolist() != second.masks["text"].sum(1).tolist()
    assert second.features["audio"][6, 0, 0] == 77


def test_what_cannot_be_made_is_told_before_a_folder_is_looked_through(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "files_below", lambda root: pytest.fail("looked through it"))
    with pytest.raises(StoreError, match="found layout 'nonsense', need one of"):
        made("nonsense", tmp_path, tmp_path / "store")
    with pytest.raises(StoreError, match="found type 'float8', need float32 or float16"):
        made("ave", tmp_path, tmp_path / "store", dtype="float8")
    (tmp_path / "store").mkdir()
    with pytest.raises(StoreError, match="stores are never overwritten"):
        made("ave", tmp_path, tmp_path / "store")


def test_too_small_a_disk_is_said_before_anything_is_written(vgg, small, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(StoreError, match=r"found 1\.0 MB free on the disk of .*, need [0-9.,]+ MB"):
        made("vggsound-avel40k", vgg, tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["vgg"]


def test_the_same_conversion_again_is_done_and_another_one_is_refused(vgg, small, tmp_path, capsys):
    command = ["convert", "vggsound-avel40k", str(vgg), str(tmp_path / "store")]
    assert main(command) == 0
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(command) == 0  # as after a kill between the store's appearance and the end
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert main([*command, "--dtype", "float16"]) == 2
    files.archive(vgg / "feature/audio/zip/test0.zip", files.features("audio", 77))
    assert main(command) == 2
    assert "stores are never overwritten" in capsys.readouterr().err
    with pytest.raises(StoreError, match="never overwritten"):  # a store of another origin
        (tmp_path / "store" / "request.json").unlink()
        made("vggsound-avel40k", vgg, tmp_path / "store")
