"""Arrays as people have them become stores."""

import numpy as np
import pandas as pd
import pytest

from srcid.features import FeatureStore, StoreError

LENGTHS = (3, 1, 5, 4)


def clips(width, dtype=np.float64):
    return [np.arange(1, t * width + 1, dtype=dtype).reshape(t, width) for t in LENGTHS]


def check(store):
    assert (store.clips, store.steps) == (4, 5) and store.shapes == {"sound": (3,), "image": (2,)}
    assert store.masks["sound"].sum(1).tolist() == store.masks["image"].sum(1).tolist() == list(LENGTHS)
    for name, width in (("sound", 3), ("image", 2)):
        assert store.features[name].dtype == np.float32
        for row, clip in enumerate(clips(width)):
            np.testing.assert_array_equal(store.features[name][row, : len(clip)], clip)
            assert not store.features[name][row, len(clip) :].any()


def test_lists_of_unequal_length_are_padded_and_masked(tmp_path):
    features = {"sound": clips(3), "image": clips(2, np.float32)}
    check(FeatureStore.create(tmp_path / "store", features, splits={"all": range(4)}))


def test_a_dataframe_with_columns_of_arrays(tmp_path):
    frame = pd.DataFrame({"sound": clips(3), "image": clips(2), "kind": ["dog", None, "cat", np.nan]})
    store = FeatureStore.create(
        tmp_path / "store", frame[["sound", "image"]], labels={"kind": frame["kind"]}, splits={"all": frame.index}
    )
    check(store)
    assert store.label_info["kind"].classes == ("cat", "dog") and store.labels["kind"].tolist() == [1, -1, 0, -1]


def test_rows_one_by_one(tmp_path):
    rows = [
        dict(sound=sound, image=image, kind=kind, split=split, key=f"#{n}")
        for n, (sound, image, kind, split) in enumerate(
            zip(clips(3), clips(2), ["dog", float("nan"), "cat", None], ["train", "train", "test", "val"], strict=True)
        )
    ]
    store = FeatureStore.from_rows(tmp_path / "store", iter(rows), ["sound", "image"], ["kind"], name="key")
    check(store)
    assert store.ids.tolist() == ["#0", "#1", "#2", "#3"] and store.splits["train"].tolist() == [0, 1]
    assert store.labels["kind"].tolist() == [1, -1, 0, -1]
    del rows[2]["kind"]
    with pytest.raises(StoreError, match="row 2 has no kind"):
        FeatureStore.from_rows(tmp_path / "other", rows, ["sound", "image"], ["kind"])
    with pytest.raises(StoreError, match="found no rows"):
        FeatureStore.from_rows(tmp_path / "other", [], ["sound", "image"])


def test_clips_that_do_not_fit_the_others_are_named(tmp_path):
    features = {"sound": [*clips(3)[:3], np.zeros((2, 4))], "image": clips(2)}
    with pytest.raises(StoreError, match=r"sound: clip 3 is float64 \[2, 4\], need numbers \[t, 3\]"):
        FeatureStore.create(tmp_path / "store", features, splits={"all": range(4)})
    assert list(tmp_path.iterdir()) == []


EVENT = np.random.default_rng(0).random((6, 3, 2)) < 0.5
KNOWN = np.array([True, False, True, True, False, True])


def unknown(filler, dtype):
    return np.where(KNOWN[:, None, None], EVENT, filler).astype(dtype)


@pytest.mark.parametrize(
    "given",
    [
        np.ma.array(EVENT, mask=np.broadcast_to(~KNOWN[:, None, None], EVENT.shape)),
        [clip if known else None for clip, known in zip(EVENT, KNOWN, strict=True)],
        pd.Series([clip if known else np.nan for clip, known in zip(EVENT, KNOWN, strict=True)]),
        unknown(-1, np.int8),
        unknown(np.nan, np.float32),
        unknown(None, object),
        unknown(pd.NA, object),
    ],
    ids=["masked", "list", "series", "-1", "nan", "None", "NA"],
)
def test_clips_without_a_label_are_told_from_background(tmp_path, given):
    features = {m: np.ones((6, 3, 4)) for m in "ab"}
    store = FeatureStore.create(
        tmp_path / "store", features, labels={"event": given}, classes={"event": ["x", "y"]}, splits={"all": range(6)}
    )
    for kept in (store, FeatureStore.open(store.path)):
        np.testing.assert_array_equal(kept.labelled["event"], np.repeat(KNOWN[:, None], 3, axis=1))
        np.testing.assert_array_equal(kept.labels["event"], EVENT & KNOWN[:, None, None])


def test_steps_beyond_the_end_of_a_labelled_clip_are_unlabelled(tmp_path):
    features = {"sound": clips(3), "image": clips(2)}
    event = [np.ones((length, 2), bool) for length in LENGTHS]
    event[3] = np.ma.array(event[3], mask=[[0, 0], [0, 1], [0, 0], [0, 0]])  # a step of which half is known
    store = FeatureStore.create(
        tmp_path / "store", features, labels={"event": event, "mood": [[1, 2, 0], [3], [0, 1, 2, 3, 3], None]},
        classes={"event": ["x", "y"]}, splits={"all": range(4)},
    )  # fmt: skip
    known = np.arange(5) < np.array(LENGTHS)[:, None]
    known[3, 1] = False
    np.testing.assert_array_equal(store.labelled["event"], known)
    assert store.labels["mood"].tolist() == [[1, 2, 0, -1, -1], [3] + [-1] * 4, [0, 1, 2, 3, 3], [-1] * 5]


def test_categories_and_truths_may_be_missing_in_every_way(tmp_path):
    values = {
        "floats": pd.Series([2.0, np.nan, 0.0]),
        "nullable": pd.Series([2, None, 0], dtype="Int64"),
        "masked": np.ma.array([2, 7, 0], mask=[0, 1, 0]),
        "text": np.array(["c", pd.NA, "a"], object),
    }
    truth = np.array([[0.5], [np.nan], [1.5]])
    features = {m: np.ones((3, 2, 4)) for m in "ab"}
    store = FeatureStore.create(
        tmp_path / "store", features, labels={**values, "pose": truth}, splits={"all": range(3)}
    )
    for name in ("floats", "nullable", "masked"):
        assert store.labels[name].tolist() == [2, -1, 0] and store.label_info[name].kind == "category"
    assert store.labels["text"].tolist() == [1, -1, 0]
    np.testing.assert_array_equal(FeatureStore.open(store.path).labels["pose"], truth)
    assert not store.labelled


def test_a_label_known_everywhere_leaves_the_store_as_it_was(tmp_path):
    features = {m: np.ones((6, 3, 4)) for m in "ab"}
    made = [
        FeatureStore.create(
            tmp_path / str(n),
            features,
            labels={"event": event},
            classes={"event": ["x", "y"]},
            splits={"all": range(6)},
        )
        for n, event in enumerate((EVENT, EVENT.astype(int), np.ma.array(EVENT), EVENT.tolist()))
    ]
    assert len({store.checksum for store in made}) == 1 and not made[0].labelled
