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
