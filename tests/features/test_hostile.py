"""Stores of strangers and arguments of every kind: what is not right is refused in words, and nothing else is read."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from srcid.features import FeatureStore, StoreError
from srcid.features.manifest import checksum
from srcid.features.media import MediaError, resolve, show
from tests.features.strategies import JSON, NUMBERS, TEXT, damaged
from tests.features.test_store import CLIPS, STEPS, content

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return FeatureStore.create(tmp_path_factory.mktemp("stranger") / "store", **content())


def sign(path, manifest) -> None:
    """Make the checksum fit, as a stranger can."""
    if isinstance(manifest, dict):
        manifest["checksum"] = checksum(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def use(store) -> None:
    """Read all that a store holds."""
    assert 1 <= store.clips <= CLIPS and store.steps == STEPS
    for part in (store.features, store.labels, store.splits, store.masks, store.media):
        for array in part.values():
            np.asarray(array).sum() if array.dtype.kind != "U" else array.tolist()
    assert len(store.ids.tolist()) == store.clips
    for rows in store.splits.values():
        store.batch(rows[:2])
    for name, info in store.label_info.items():
        if info.kind == "category":
            assert store.labels[name].min() >= -1 and store.labels[name].max() < len(info.classes)


@pytest.mark.parametrize("reference", [f"wav:{'x' * 300}", f"png:{'é' * 200}.png", f"wav:{'a/' * 3000}b.wav"])
def test_a_media_reference_too_long_for_a_path_is_a_sentence(tmp_path, reference):
    with pytest.raises(MediaError, match=r"which cannot be a path \(File name too long\)") as error:
        resolve(reference, tmp_path)
    assert len(str(error.value)) < 300
    with pytest.raises(MediaError, match="need KIND:LOCATOR") as error:
        resolve("no" + reference, tmp_path)
    assert len(str(error.value)) < 400


@pytest.fixture(scope="module")
def manifest(store):
    return json.loads((store.path / "manifest.json").read_text())


@MANY
@given(data=st.data())
def test_a_manifest_made_by_a_stranger_is_refused_or_a_whole_store(store, manifest, data):
    whole = (store.path / "manifest.json").read_text()
    try:
        sign(store.path, data.draw(damaged(manifest)))
        try:
            opened = FeatureStore.open(store.path, verify=False)
        except StoreError:
            return
        use(opened)
    finally:
        (store.path / "manifest.json").write_text(whole)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(splits=["../../secret"]),
        lambda m: m.update(splits=["train", "../../secret"]),
        lambda m: m.update(labels={"x/../../../private/salaries": m["labels"]["mood"]}),
        lambda m: m.update(clips=99),
        lambda m: m.update(steps=10**29),
        lambda m: m["files"]["splits/train.npy"].update(dtype="<i4"),
        lambda m: m["files"]["features/sound.npy"].update(dtype=">f4"),
        lambda m: m["files"]["features/sound.npy"].update(shape=[]),
        lambda m: m["files"].update({"../secret.npy": m["files"]["ids.npy"]}),
        lambda m: m.update(masks=["../../secret"]),
        lambda m: m["labels"]["mood"].update(classes=["calm"] * 3, visible_in=["smell"]),
        lambda m: m.update(evaluation_only="no"),
    ],
)
def test_what_a_stranger_tried(store, manifest, tmp_path, change):
    np.save(tmp_path / "secret.npy", np.arange(4))
    path = tmp_path / "a" / "store"
    shutil.copytree(store.path, path)
    changed = json.loads(json.dumps(manifest))
    change(changed)
    sign(path, changed)
    with pytest.raises(StoreError, match=r"is no feature store:\n  - manifest\.json"):
        FeatureStore.open(path, verify=False)


def replace(path, name, array) -> None:
    """Put another array in the place of one, and let the manifest agree in size and hash."""
    np.save(path / name, array)
    manifest = json.loads((path / "manifest.json").read_text())
    entry = manifest["files"][name]
    import hashlib

    entry.update(
        bytes=(path / name).stat().st_size, sha256=hashlib.sha256((path / name).read_bytes()).hexdigest(),
        shape=list(np.shape(array)), dtype=array.dtype.str,
    )  # fmt: skip
    sign(path, manifest)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("splits/train.npy", np.array([0, CLIPS]), "split train: found rows 0 to 12"),
        ("splits/train.npy", np.array([6, 1]), "overlap"),
        ("labels/mood.npy", np.full(CLIPS, 7), "label mood: found values 7 to 7"),
        ("labels/pose.npy", np.full((CLIPS, STEPS, 2), np.inf), "label pose has values that are infinite"),
        ("masks/sound.npy", np.full((CLIPS, STEPS), 3, np.uint8).view(bool), "no bool"),
        ("ids.npy", np.full(CLIPS, 0x7FFFFFFF, np.uint32).view("<U1"), "no <U1"),
    ],
)
def test_values_beyond_their_range_are_refused_when_read(store, tmp_path, name, array, message):
    path = tmp_path / "store"
    shutil.copytree(store.path, path)
    replace(path, name, array)
    with pytest.raises(StoreError, match=message):
        use(FeatureStore.open(path))


def test_a_header_that_disagrees_and_links_out_of_the_store_are_refused(store, tmp_path):
    path = tmp_path / "store"
    shutil.copytree(store.path, path)
    file = path / "ids.npy"
    data = file.read_bytes()
    file.write_bytes(data.replace(b"(12,)", b"(11,)"))
    with pytest.raises(StoreError, match=r"ids\.npy: its header does not match"):
        FeatureStore.open(path, verify=False)
    file.write_bytes(b"x" * len(data))
    with pytest.raises(StoreError, match=r"ids\.npy: is no array file"):
        FeatureStore.open(path, verify=False)
    (tmp_path / "outside.npy").write_bytes(data)
    file.unlink()
    file.symlink_to(tmp_path / "outside.npy")
    with pytest.raises(StoreError, match="lies outside the store"):
        FeatureStore.open(path, verify=False)


def test_the_media_folder_is_the_users_word_and_not_the_stores(tmp_path, monkeypatch):
    wavfile.write(tmp_path / "private.wav", 8000, np.ones(80, np.int16))
    media = np.full((CLIPS, STEPS), "wav:private.wav#0.0,0.005")
    FeatureStore.create(tmp_path / "store", **content(media={"sound": media}), media_root=tmp_path)
    monkeypatch.delenv("SRCID_MEDIA")
    stranger = FeatureStore.open(tmp_path / "store")
    assert stranger.media_root == tmp_path / "store"
    with pytest.raises(MediaError, match="name the folder of the media"):
        show(stranger, "sound", 0, 0)
    named = FeatureStore.open(tmp_path / "store", media_root=tmp_path)
    assert len(show(named, "sound", 0, 0).content[1]) == 40
    monkeypatch.setenv("SRCID_MEDIA", f"/nowhere:{tmp_path}")
    assert FeatureStore.open(tmp_path / "store").media_root == tmp_path
    monkeypatch.setenv("SRCID_MEDIA", str(tmp_path / "store"))
    assert FeatureStore.open(tmp_path / "store").media_root == tmp_path / "store"


ODD = st.one_of(
    JSON,
    st.binary(max_size=5),
    st.just(np.float64(3)),
    st.just(object()),
    st.builds(np.array, st.one_of(NUMBERS, TEXT, st.lists(NUMBERS))),
)


@MANY
@given(
    name=st.sampled_from(["labels", "classes", "splits", "ids", "masks", "media", "visible_in", "provenance"]),
    value=st.one_of(ODD, st.dictionaries(st.sampled_from(["event", "mood", "sound", "train"]), ODD, max_size=2)),
)
@example(name="ids", value=5)
@example(name="ids", value=["a\nb"] * CLIPS)
@example(name="classes", value={"event": 3})
@example(name="visible_in", value={"mood": 3})
@example(name="media", value={"sound": np.full((CLIPS, STEPS), "wav:../../etc/passwd")})
@example(name="media", value={"sound": np.full((CLIPS, STEPS), "wav:a.wav#nan,inf")})
@example(name="labels", value={"mood": np.full(CLIPS, 2**62)})
def test_odd_arguments_are_refused_in_words_or_kept_as_they_are(tmp_path, name, value):
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    try:
        store = FeatureStore.create(tmp_path / "store", **content(**{name: value}))
    except StoreError:
        assert list(tmp_path.iterdir()) == []
        return
    use(FeatureStore.open(store.path))


@MANY
@given(modality=TEXT, steps=st.one_of(NUMBERS, JSON), only=JSON)
def test_odd_names_and_numbers_make_no_folder(tmp_path, modality, steps, only):
    try:
        shapes = {modality: (3,), "b": (2,)}
        FeatureStore.writer(tmp_path / "store", shapes, steps, evaluation_only=only)
    except StoreError:
        pass
    assert list(tmp_path.iterdir()) == []


class Refusing:
    """As a tensor that needs its gradient, or lies on a device."""

    def __array__(self, *about, **options):
        raise RuntimeError("not now")


def test_the_rest_of_what_was_tried(tmp_path):
    for change, message in (
        (dict(evaluation_only="no"), "evaluation_only: found 'no', need True or False"),
        (dict(ids=[*content()["ids"][:-1], "a\0"]), "without control characters"),
        (dict(media_root=5), "media_root: found 5, need a folder"),
        (dict(ids=["é", "e\u0301", *map(str, range(CLIPS - 2))]), "1 ids more than once"),
        (dict(features={"x" * 300: np.zeros((CLIPS, STEPS, 1)), "sound": np.zeros((CLIPS, STEPS, 1))}), "cannot be"),
        (dict(media={"sound": np.full((CLIPS, STEPS), "wav:../../etc/passwd")}), "need a path below the media folder"),
        (dict(media={"sound": np.full((CLIPS, STEPS), "wav:a.wav#nan,inf")}), "need 'wav:FILE#START,STOP' in seconds"),
        (dict(splits={"train/x": [0]}), "split name 'train/x' cannot be a file name"),
        (dict(splits={"train": range(10**15)}), "found rows 0 to 12, need 0 to 11"),
        (dict(splits={"train": [0], "Train": [1]}), "'train' and 'Train' differ in case only"),
        (dict(classes={"event": {"a", "b", "c"}}), "classes of event: found set, need a list of names"),
        (dict(provenance={"by": "\ud800"}), "provenance cannot be written as JSON"),
        (dict(media_root="a\0b"), "media_root: found 'a.x00b', need a folder"),
        (dict(features={"sound": Refusing(), "picture": content()["features"]["picture"]}), "need one array .*not now"),
        (dict(features={m: np.broadcast_to(np.float32(1), (CLIPS, STEPS, 10**13)) for m in "ab"}), "MB free on"),
    ):
        with pytest.raises(StoreError, match=message):
            FeatureStore.create(tmp_path / "store", **content(**change))
        assert list(tmp_path.iterdir()) == []


def test_categories_are_counted_by_their_values(tmp_path):
    years = np.array([1999, 2024, -1, 1999] + [2**62] * (CLIPS - 4))
    labels = {"year": years, "kind": np.arange(CLIPS) % 3}
    store = FeatureStore.create(tmp_path / "store", **content(labels=labels, classes={}, visible_in={}))
    assert store.label_info["year"].classes == ("1999", "2024", str(2**62))
    assert store.labels["year"].tolist() == [0, 1, -1, 0] + [2] * (CLIPS - 4)
    assert store.label_info["kind"].classes == ("0", "1", "2")


def test_masked_arrays_become_masks(tmp_path):
    sound = np.ma.array(np.full((CLIPS, STEPS, 3), 1e20), mask=False)
    sound[2, 1, 0] = sound[5, 3, 2] = np.ma.masked
    given = content()
    features = {"sound": sound, "picture": given["features"]["picture"]}
    store = FeatureStore.create(tmp_path / "store", **content(features=features, masks={}))
    assert np.argwhere(~store.masks["sound"]).tolist() == [[2, 1], [5, 3]]
    assert store.features["sound"][2, 1, 0] == 0


def test_what_is_written_can_be_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("srcid.features.writer.MAX_MANIFEST_BYTES", 10_000)
    with pytest.raises(StoreError, match=r"provenance and names of classes take 1.,... bytes, need at most 10,000"):
        FeatureStore.create(tmp_path / "store", **content(provenance={"notes": "x" * 10_000}))
    assert list(tmp_path.iterdir()) == []


def test_steps_that_were_added_are_missing_whatever_the_mask_says(tmp_path):
    draw = np.random.default_rng(0)
    features = {m: [draw.normal(size=(1 + clip % 2, 3)) for clip in range(4)] for m in "ab"}
    given = {"a": np.ones((4, 2), bool)}
    store = FeatureStore.create(tmp_path / "store", features=features, masks=given, splits={"train": range(4)})
    assert store.masks["a"].tolist() == store.masks["b"].tolist() == [[True, clip % 2 == 1] for clip in range(4)]


def test_labels_may_be_text(tmp_path):
    moods = ["calm", "wild", "", None] * 3
    labels = {"mood": np.array(moods, object), "place": np.array(["indoors", "outdoors"] * 6)}
    store = FeatureStore.create(
        tmp_path / "store", **content(labels=labels, classes={"mood": ["wild", "calm"]}, visible_in={})
    )
    assert store.labels["mood"].tolist() == [1, 0, -1, -1] * 3
    assert store.label_info["place"].classes == ("indoors", "outdoors")


def test_an_e_with_an_accent_is_one_letter_however_it_was_typed(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    labels = {"place": np.array([composed, decomposed] * (CLIPS // 2))}
    ids = [f"{decomposed} {row}" for row in range(CLIPS)]
    store = FeatureStore.create(tmp_path / "store", **content(labels=labels, classes={}, visible_in={}, ids=ids))
    assert store.label_info["place"].classes == (composed,) and store.labels["place"].tolist() == [0] * CLIPS
    assert store.ids[1] == f"{composed} 1"


@pytest.mark.parametrize("name", ["CON", "nul", "Lpt1.old"])
def test_devices_of_windows_name_no_file(tmp_path, name):
    for odd in (
        dict(
            features={name: np.ones((CLIPS, 2, 1)), "b": np.ones((CLIPS, 2, 1))}, labels={}, classes={}, visible_in={}
        ),
        dict(splits={name: [0]}),
        dict(labels={name: np.zeros(CLIPS, int)}, classes={}, visible_in={}),
    ):
        with pytest.raises(StoreError, match=r"none of Windows' own|need a letter"):
            FeatureStore.create(tmp_path / "store", **content(**odd))
    assert list(tmp_path.iterdir()) == []
