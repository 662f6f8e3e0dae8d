import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from srcid.features import FeatureStore, StoreError, batch_rows, checks

CLIPS, STEPS = 12, 4


def content(**changes) -> dict:
    """Arguments of a small valid store, with changes."""
    rng = np.random.default_rng(0)
    arguments = dict(
        features={
            "sound": rng.standard_normal((CLIPS, STEPS, 3), np.float32),
            "picture": rng.standard_normal((CLIPS, STEPS, 2, 2, 5), np.float32),
        },
        labels={
            "event": rng.random((CLIPS, STEPS, 2)) < 0.4,
            "topic": rng.random((CLIPS, 3)) < 0.5,
            "mood": rng.integers(-1, 2, CLIPS),
            "pose": rng.standard_normal((CLIPS, STEPS, 2)),
        },
        classes={"event": ["bark", "bell"], "topic": ["a", "b", "c"], "mood": ["calm", "wild"]},
        splits={"train": [4, 1, 0, 2, 3, 5], "val": [6, 7], "test": [9, 8]},
        ids=[f"clip {n}" for n in range(CLIPS)],
        masks={"sound": rng.random((CLIPS, STEPS)) < 0.8},
        media={"sound": np.full((CLIPS, STEPS), "wav:a.wav#0.0,0.5")},
        visible_in={"mood": ("sound",)},
        provenance={"name": "made up", "licence": "none"},
    )
    return {**arguments, **changes}


def spoilt(modality: str, *places: tuple, value: float) -> dict:
    features = {m: array.copy() for m, array in content()["features"].items()}
    for place in places:
        features[modality][place] = value
    return features


def test_everything_written_is_read_back(tmp_path):
    given = content()
    FeatureStore.create(tmp_path / "store", **given)
    store = FeatureStore.open(tmp_path / "store")
    assert store.modalities == ("sound", "picture")
    assert store.shapes == {"sound": (3,), "picture": (2, 2, 5)}
    assert (store.clips, store.steps) == (CLIPS, STEPS)
    for m, array in given["features"].items():
        np.testing.assert_array_equal(store.features[m], array)
        assert not store.features[m].flags.writeable
    for name, array in given["labels"].items():
        np.testing.assert_array_equal(store.labels[name], array)
    for name, rows in given["splits"].items():
        np.testing.assert_array_equal(store.splits[name], rows)
        assert store.splits[name].dtype == np.int64
    np.testing.assert_array_equal(store.ids, given["ids"])
    np.testing.assert_array_equal(store.masks["sound"], given["masks"]["sound"])
    assert store.masks["picture"].all()
    np.testing.assert_array_equal(store.media["sound"], given["media"]["sound"])
    assert list(store.media) == ["sound"]
    assert store.provenance == given["provenance"]


def test_labels_are_understood_by_type_and_shape(tmp_path):
    info = FeatureStore.create(tmp_path / "store", **content()).label_info
    kinds = {name: (i.kind, i.level) for name, i in info.items()}
    assert kinds == {
        "event": ("multilabel", "step"),
        "topic": ("multilabel", "clip"),
        "mood": ("category", "clip"),
        "pose": ("continuous", "step"),
    }
    assert info["event"].classes == ("bark", "bell")
    assert info["mood"].visible_in == ("sound",)
    assert info["event"].visible_in == ("sound", "picture")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), clips=st.integers(1, 6), steps=st.integers(1, 4))
def test_any_finite_features_survive_the_round_trip(tmp_path, data, clips, steps):
    width = st.integers(1, 3)
    shapes = data.draw(st.lists(st.one_of(st.tuples(width), st.tuples(width, width, width)), min_size=2, max_size=4))
    dtypes = st.sampled_from([np.float16, np.float32, np.uint8])
    features = {
        f"m{n}": data.draw(hnp.arrays(dtype, (clips, steps, *shape), elements=_finite(dtype)))
        for n, shape in enumerate(shapes)
        for dtype in [data.draw(dtypes)]
    }
    path = tmp_path / "store"
    shutil.rmtree(path, ignore_errors=True)
    store = FeatureStore.create(path, features=features, splits={"all": np.arange(clips)})
    rows = data.draw(st.lists(st.integers(0, clips - 1), max_size=8))
    for m, batch in store.batch(np.array(rows, int)).items():
        assert batch.dtype == np.float32
        np.testing.assert_array_equal(batch, features[m][rows].astype(np.float32))


def _finite(dtype):
    if dtype is np.uint8:
        return st.integers(0, 255)
    return st.floats(-60000, 60000, width=np.dtype(dtype).itemsize * 8, allow_nan=False)


REFUSED = {
    "clips": (
        dict(features={"a": np.zeros((5, 4, 3)), "b": np.zeros((6, 4, 3))}),
        r"unequal numbers of clips \(a 5, b 6\)",
    ),
    "steps": (
        dict(features={"a": np.zeros((12, 4, 3)), "b": np.zeros((12, 5, 3))}),
        r"unequal numbers of steps \(a 4, b 5\)",
    ),
    "nan": (
        dict(features=spoilt("sound", (7, 2, 1), (9, 0, 0), value=np.nan)),
        r"sound: found 2 NaN and 0 infinite values \(first at clip 7, step 2\)",
    ),
    "inf": (
        dict(features=spoilt("picture", (3, 1, 0, 1, 4), value=np.inf)),
        r"picture: found 0 NaN and 1 infinite values \(first at clip 3, step 1\)",
    ),
    "float32 overflow": (
        dict(features={"a": np.full((12, 4, 3), 1e300), "b": np.zeros((12, 4, 3))}),
        "a: found 0 NaN and 144 infinite",
    ),
    "rank": (
        dict(features={"a": np.zeros((12, 4)), "b": np.zeros((12, 4, 3))}),
        r"a: found rank 2 \(12, 4\)",
    ),
    "text": (
        dict(features={"a": np.full((12, 4, 3), "x"), "b": np.zeros((12, 4, 3))}),
        "a: found values of type",
    ),
    "one modality": (dict(features={"a": np.zeros((12, 4, 3))}), "found 1 modalities, need 2 or more"),
    "modality name": (
        dict(features={"../a": np.zeros((12, 4, 3)), "b": np.zeros((12, 4, 3))}),
        "modality name '../a' cannot be used; need a letter",
    ),
    "modality with a dot": (
        dict(features={"a.b": np.zeros((12, 4, 3)), "b": np.zeros((12, 4, 3))}),
        "modality name 'a.b' cannot be used",
    ),
    "modality of the network": (
        dict(features={"keys": np.zeros((12, 4, 3)), "b": np.zeros((12, 4, 3))}),
        "modality name 'keys' has a meaning of its own in a network",
    ),
    "modality number": (
        dict(features={0: np.zeros((12, 4, 3)), "b": np.zeros((12, 4, 3))}),
        "modality name 0 cannot be used",
    ),
    "ragged features": (
        dict(features={"a": [[[1.0]], [[1.0, 3.0], [2.0, 4.0]]], "sound": np.zeros((12, 4, 3))}),
        r"\n  - a: clip 1 is float64 \[2, 2\], need numbers \[t, 1\]",
    ),
    "ragged label": (
        dict(labels={**content()["labels"], "event": [[[True]], [[True], [False]]]}),
        r":\n  - label event: found bool \(2, 4, 1\), need bool \[12,4,C\]",
    ),
    "ragged split": (dict(splits={"train": [[0], [1, 2]]}), "splits train: found list, need one array"),
    "ragged mask": (dict(masks={"sound": [[True], []]}), "masks sound: found list, need one array"),
    "features as a list": (dict(features=[np.zeros((12, 4, 3))]), "features: found list, need a dict by name"),
    "labels as a list": (
        dict(labels=[np.zeros(12, int)], classes={}, visible_in={}),
        r":\n  - labels: found list, need a dict by name$",
    ),
    "classes as a list": (dict(classes=[["a", "b"]]), "classes: found list, need a dict by name"),
    "provenance as text": (dict(provenance="home"), "provenance: found str, need a dict by name"),
    "label name": (
        dict(labels={3: np.zeros(12, int)}, classes={}, visible_in={}),
        "label name 3 cannot be a file name",
    ),
    "event per clip": (
        dict(labels={"event": np.ones((CLIPS, 2), bool)}, visible_in={}, classes={"event": ["a", "b"]}),
        r":\n  - label event: found bool \(12, 2\), need bool \[12,4,C\]: the classes of each step.*$",
    ),
    "event as numbers": (
        dict(labels={"event": np.full((CLIPS, STEPS, 2), 0.5)}, visible_in={}, classes={"event": ["a", "b"]}),
        r"label event: found values like 0.5, need 0 and 1, and -1 or NaN where it is unknown",
    ),
    "event as category": (
        dict(labels={"event": np.ones((CLIPS, STEPS), int)}, visible_in={}, classes={}),
        r"label event: found int64 \(12, 4\), need bool",
    ),
    "event without classes": (
        dict(labels={"event": np.ones((CLIPS, STEPS, 0), bool)}, visible_in={}, classes={"event": []}),
        r"label event: found bool \(12, 4, 0\), need bool",
    ),
    "no split": (dict(splits={}), "found no splits"),
    "empty split": (dict(splits={"train": [0], "test": []}), "split test is empty"),
    "overlap": (
        dict(splits={"train": [0, 1, 2], "test": [2, 1, 5]}),
        "splits train and test overlap in 2 clips",
    ),
    "out of range": (dict(splits={"train": [0, CLIPS]}), "split train: found rows 0 to 12, need 0 to 11"),
    "repeated row": (dict(splits={"train": [0, 0, 1]}), "split train: 1 rows are listed more than once"),
    "mask as split": (dict(splits={"train": np.ones(CLIPS, bool)}), "split train: found bool"),
    "ids repeat": (dict(ids=["same"] * CLIPS), r"1 ids more than once \(same\)"),
    "ids missing": (dict(ids=["a", "b"]), "found 2 ids for 12 clips"),
    "class columns": (
        dict(classes={**content()["classes"], "event": ["bark"]}),
        "label event: found 2 columns and 1 class names",
    ),
    "no classes": (dict(classes={}), "label event: found 2 columns and 0 class names"),
    "class repeats": (
        dict(classes={**content()["classes"], "event": ["a", "a"]}),
        r"class names repeat: \['a'\]",
    ),
    "category": (
        dict(labels={"mood": np.full(CLIPS, 2)}, classes={"mood": ["calm", "wild"]}, visible_in={}),
        "label mood: found values 2 to 2, need -1",
    ),
    "label shape": (
        dict(labels={"mood": np.zeros((CLIPS, STEPS + 1), int)}, classes={}, visible_in={}),
        r"label mood: found int64 \(12, 5\), need \[12\] or \[12,4\]",
    ),
    "label nan": (
        dict(labels={"pose": np.full((CLIPS, 1), np.nan)}, classes={}, visible_in={}),
        "label pose: nothing is known of it; leave it out",
    ),
    "label infinite": (
        dict(labels={"pose": np.full((CLIPS, 1), np.inf)}, classes={}, visible_in={}),
        "label pose: found 12 values that are infinite, first at clip 0",
    ),
    "stray classes": (dict(classes={**content()["classes"], "evnt": ["x"]}), "classes names 'evnt'"),
    "stray mask": (dict(masks={"smell": np.ones((CLIPS, STEPS), bool)}), "masks names 'smell'"),
    "mask shape": (dict(masks={"sound": np.ones(CLIPS, bool)}), "mask of sound: found bool"),
    "media shape": (dict(media={"sound": np.array(["word:a"])}), "media of sound: found <U6"),
    "visible in": (dict(visible_in={"mood": ("smell",)}), r"visible_in names \['smell'\]"),
    "provenance": (dict(provenance={"when": object()}), "provenance cannot be written as JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_data_are_refused_before_anything_is_written(tmp_path, case):
    changes, message = REFUSED[case]
    with pytest.raises(StoreError, match=message):
        FeatureStore.create(tmp_path / "store", **content(**changes))
    assert list(tmp_path.iterdir()) == []


def test_names_that_the_network_cannot_use_are_those_that_are_refused():
    from torch.nn import ModuleDict

    taken = {name for name in dir(ModuleDict()) if not name.startswith("_")}
    assert taken == checks.RESERVED and len(taken) > 50
    for name in taken:
        assert checks.check_names([name, "other"], False)
        with pytest.raises(KeyError):
            ModuleDict({name: ModuleDict()})
    names = ["sound", "Ego-view_2", "x", "data"]
    assert checks.check_names(names, False) == []
    assert set(ModuleDict({name: ModuleDict() for name in names})) == set(names)


def test_a_store_may_be_without_events(tmp_path):
    labels = {"topic": content()["labels"]["topic"]}
    store = FeatureStore.create(
        tmp_path / "topics", **content(labels=labels, classes={"topic": ["a", "b", "c"]}, visible_in={})
    )
    assert list(store.labels) == ["topic"]
    assert not FeatureStore.create(tmp_path / "bare", **content(labels={}, classes={}, visible_in={})).labels


def test_all_problems_are_told_at_once(tmp_path):
    bad = content(features=spoilt("sound", (0, 0, 0), value=np.nan), ids=["a"] * CLIPS, splits={"train": []})
    with pytest.raises(StoreError) as caught:
        FeatureStore.create(tmp_path / "store", **bad)
    assert len(caught.value.problems) == 3
    assert all(problem in str(caught.value) for problem in caught.value.problems)


def test_an_existing_target_is_left_alone(tmp_path):
    store = FeatureStore.create(tmp_path / "store", **content())
    with pytest.raises(StoreError, match="never overwritten"):
        FeatureStore.create(tmp_path / "store", **content(ids=None))
    assert FeatureStore.open(tmp_path / "store").checksum == store.checksum


def test_one_modality_is_enough_for_evaluation_only(tmp_path):
    store = FeatureStore.create(
        tmp_path / "store", {"a": np.zeros((3, 2, 1))}, splits={"test": [0, 2]}, evaluation_only=True
    )
    assert store.modalities == ("a",)


def test_float16_stays_and_everything_else_becomes_float32(tmp_path):
    features = {
        "a": np.ones((3, 2, 1), np.float16),
        "b": np.ones((3, 2, 1)),
        "c": np.ones((3, 2, 1), np.uint8),
    }
    store = FeatureStore.create(tmp_path / "store", features, splits={"all": [0]})
    assert [store.features[m].dtype for m in "abc"] == [np.float16, np.float32, np.float32]
    assert {batch.dtype for batch in store.batch([0]).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "name",
    [
        "features/sound.npy",
        "features/picture.npy",
        "labels/event.npy",
        "splits/val.npy",
        "ids.npy",
        "media/sound.npy",
    ],
)
def test_truncated_altered_and_missing_files_are_noticed(tmp_path, name):
    path = tmp_path / "store"
    FeatureStore.create(path, **content())
    file = path / name
    whole = file.read_bytes()

    file.write_bytes(whole[:-1])
    for verify in (True, False):
        with pytest.raises(StoreError, match=f"{name}: found .* bytes, need .*truncated"):
            FeatureStore.open(path, verify=verify)

    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match=f"{name}: its content does not match"):
        FeatureStore.open(path)
    FeatureStore.open(path, verify=False)

    file.unlink()
    with pytest.raises(StoreError, match=f"{name} is missing"):
        FeatureStore.open(path)

    file.write_bytes(whole)
    FeatureStore.open(path)


def test_every_file_of_the_store_is_under_a_hash(tmp_path):
    path = tmp_path / "store"
    FeatureStore.create(path, **content())
    listed = set(json.loads((path / "manifest.json").read_text())["files"])
    present = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert present - {"manifest.json"} == listed
    assert len(listed) == 12  # 2 features, 4 labels, 3 splits, ids, 1 mask, 1 media


def test_strange_manifests_are_refused(tmp_path):
    path = tmp_path / "store"
    FeatureStore.create(path, **content())
    file = path / "manifest.json"
    text = file.read_text()
    manifest = json.loads(text)
    for written, message in (
        (json.dumps({**manifest, "version": 99}), "found format version 99, need 1"),
        (json.dumps({**manifest, "format": "other"}), "found format 'other'"),
        (json.dumps({**manifest, "clips": 3}), "does not match its own checksum"),
        (json.dumps([1]), "found format 'list'"),
        (text[:-20], "truncated or altered"),
    ):
        file.write_text(written)
        with pytest.raises(StoreError, match=message):
            FeatureStore.open(path)
    file.unlink()
    with pytest.raises(StoreError, match=r"no manifest\.json.*never finished"):
        FeatureStore.open(path)
    with pytest.raises(StoreError, match="no such folder"):
        FeatureStore.open(tmp_path / "nothing")


def test_a_killed_writer_leaves_no_store(tmp_path):
    program = (
        "import os, signal, sys, numpy as np\n"
        "from srcid.features import FeatureStore\n"
        "with FeatureStore.writer(sys.argv[1], {'a': (3,), 'b': (3,)}, steps=2) as writer:\n"
        "    writer.append({'a': np.ones((4, 2, 3)), 'b': np.ones((4, 2, 3))})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "store"
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not path.exists()
    (left,) = tmp_path.glob("*.partial")
    assert left.name.startswith(".store.")
    with pytest.raises(StoreError, match="never finished"):
        FeatureStore.open(left)
    with FeatureStore.writer(path, {"a": (3,), "b": (3,)}, steps=2) as alive:
        assert not left.exists()
        FeatureStore.create(path, **content())
        assert len(list(tmp_path.glob(".store.*.partial"))) == 1  # what lives is left alone
        alive.discard()
    assert [found.name for found in tmp_path.iterdir()] == ["store"]


def test_a_failing_disk_leaves_no_store(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device: found .* MB free at"):
        FeatureStore.create(tmp_path / "store", **content())
    assert list(tmp_path.iterdir()) == []


def test_writing_in_pieces_gives_the_same_bytes_as_at_once(tmp_path, monkeypatch):
    whole = FeatureStore.create(tmp_path / "whole", **content())
    monkeypatch.setattr(checks, "CHUNK_BYTES", 100)
    pieces = FeatureStore.create(tmp_path / "pieces", **content())
    given = content()
    features = given.pop("features")
    with FeatureStore.writer(tmp_path / "stream", {m: a.shape[2:] for m, a in features.items()}, STEPS) as writer:
        for first, last in ((0, 5), (5, 5), (5, 6), (6, CLIPS)):
            writer.append({m: array[first:last] for m, array in features.items()})
        stream = writer.finish(**given)
    assert whole.checksum == pieces.checksum == stream.checksum
    for m, array in features.items():
        np.testing.assert_array_equal(stream.features[m], array)


def test_where_a_bad_value_lies_is_told_across_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "CHUNK_BYTES", 100)
    with pytest.raises(StoreError, match="first at clip 7, step 2"):
        FeatureStore.create(
            tmp_path / "store", **content(features=spoilt("sound", (7, 2, 1), (11, 0, 0), value=np.nan))
        )


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"a": np.ones((2, 2, 3))}, "found modalities"),
        ({"a": np.ones((2, 2, 3)), "b": np.ones((2, 3, 3))}, "b: found shape"),
        ({"a": np.ones((2, 2, 3)), "b": np.ones((1, 2, 3))}, "unequal numbers of clips"),
        ({"a": np.ones((2, 2, 3)), "b": np.full((2, 2, 3), np.nan)}, "first at clip 4, step 0"),
        ({"a": np.ones((2, 2, 3)), "b": [[[1, 1, 1]] * 2, [[1, 1, 1]]]}, ":\n  - features b: found list, need one"),
        ({"a": np.ones((2, 2, 3)), "b": 1.0}, r"b: found shape \(\), need \[n, 2, 3\]"),
        ({"a": np.ones((2, 2, 3)), "b": np.full((2, 2, 3), "x")}, "b: found values of type <U1, need real numbers"),
        ([np.ones((2, 2, 3))], "features: found list, need a dict by name"),
    ],
)
def test_the_writer_refuses_bad_pieces(tmp_path, batch, message):
    with (
        pytest.raises(StoreError, match=message),
        FeatureStore.writer(tmp_path / "store", {"a": (3,), "b": (3,)}, steps=2) as writer,
    ):
        writer.append({"a": np.ones((4, 2, 3)), "b": np.ones((4, 2, 3))})
        writer.append(batch)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_left_unfinished_says_so(tmp_path):
    with (
        pytest.raises(StoreError, match="without calling finish"),
        FeatureStore.writer(tmp_path / "store", {"a": (3,), "b": (3,)}, steps=2),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_store_may_be_moved_and_keeps_its_checksum(tmp_path):
    first = FeatureStore.create(tmp_path / "one", **content(), media_root=tmp_path)
    second = FeatureStore.create(tmp_path / "two", **content())
    assert first.checksum == second.checksum
    assert (first.media_root, second.media_root) == (tmp_path, tmp_path / "two")
    (tmp_path / "one").rename(tmp_path / "three")
    assert FeatureStore.open(tmp_path / "three").checksum == first.checksum
    other = FeatureStore.create(tmp_path / "four", **content(provenance={"name": "other"}))
    assert other.checksum != first.checksum


def test_batches_cover_the_rows_in_order(tmp_path):
    given = content()
    store = FeatureStore.create(tmp_path / "store", **given)
    seen = []
    for rows, batch in store.batches("train", 4):
        seen += rows.tolist()
        for m, values in batch.items():
            np.testing.assert_array_equal(values, given["features"][m][rows])
    assert seen == given["splits"]["train"]


def test_shuffling_depends_on_seed_and_epoch_alone():
    rows = np.arange(100, 150)

    def order(**options):
        return [part.tolist() for part in batch_rows(rows, 8, **options)]

    assert order(seed=3) == order(seed=3) == order(seed=3, epoch=0)
    assert order(seed=3) != order(seed=4)
    assert order(seed=3) != order(seed=3, epoch=1)
    assert sorted(row for part in order(seed=3) for row in part) == rows.tolist()
    assert [len(part) for part in order(seed=3)] == [8] * 6 + [2]
    assert [len(part) for part in order(seed=3, drop_last=True)] == [8] * 6
    assert order(seed=3)[0] != rows[:8].tolist()
    assert batch_rows(np.array([], int), 8) == []
    with pytest.raises(ValueError, match="found batch size 0"):
        batch_rows(rows, 0)


def test_a_store_cannot_be_changed_through_its_arrays(tmp_path):
    store = FeatureStore.create(tmp_path / "store", **content())
    for array in (
        store.features["sound"],
        store.labels["event"],
        store.splits["train"],
        store.masks["sound"],
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_importing_the_features_is_cheap():
    program = "import sys, srcid.features; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "numpy" in loaded
    assert not set(loaded) & {"torch", "sklearn", "scipy", "pandas", "plotly", "umap", "h5py"}


def test_old_stores_stay_readable():
    store = FeatureStore.open(Path(__file__).parent / "fixtures" / "store-v1")
    assert store.modalities == ("a", "b")
    np.testing.assert_array_equal(store.features["a"], np.arange(24, dtype=np.float32).reshape(4, 3, 2))
    assert store.label_info["event"].classes == ("x", "y")
    np.testing.assert_array_equal(store.splits["test"], [3])
