import numpy as np
import pytest
from pydantic import ValidationError

from srcid.features import SyntheticParams, make_synthetic
from srcid.features.synthetic import distinct, event_slots
from tests.features.probes import linear_accuracy

SMALL = dict(train=20, val=6, test=6)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return make_synthetic(tmp_path_factory.mktemp("synthetic") / "store")


def test_defaults_have_the_advertised_shape(default):
    assert default.shapes == {"audio": (64,), "video": (4, 4, 32), "text": (64,)}
    assert {name: len(rows) for name, rows in default.splits.items()} == {
        "train": 1600,
        "val": 400,
        "test": 400,
    }
    assert default.steps == 10
    assert default.label_info["event"].classes == tuple(f"event {n}" for n in range(8))
    for m in default.modalities:
        assert default.label_info[f"nuisance_{m}"].visible_in == (m,)


@pytest.mark.parametrize("modality", ["audio", "video", "text"])
def test_classes_are_plain_shades_are_faint_and_nuisances_are_clear(default, modality):
    event = linear_accuracy(default, modality, "event", pooled=True)
    fine = linear_accuracy(default, modality, "fine", pooled=True)
    assert 0.75 <= event <= 0.92
    assert 0.45 <= fine <= 0.70
    assert linear_accuracy(default, modality, f"nuisance_{modality}", pooled=True) > 0.7


def test_private_factors_stay_private(default):
    for m in default.modalities:
        for other in set(default.modalities) - {m}:
            assert linear_accuracy(default, m, f"nuisance_{other}", pooled=True, most=2000) < 0.35  # chance 0.25


def test_shared_factors_are_independent(default):
    event, fine = default.labels["event"], default.labels["fine"]
    active = fine >= 0
    np.testing.assert_array_equal(active, event.any(-1))
    table = np.zeros((8, 4))
    np.add.at(table, (event.argmax(-1)[active], fine[active]), 1)
    np.testing.assert_allclose(table / table.sum(axis=1, keepdims=True), 0.25, atol=0.08)


def test_the_same_parameters_give_the_same_bytes_and_a_seed_changes_them(tmp_path):
    stores = [
        make_synthetic(tmp_path / str(number), SyntheticParams(**SMALL, seed=seed))
        for number, seed in enumerate((0, 0, 1))
    ]
    assert stores[0].checksum == stores[1].checksum
    assert not np.array_equal(stores[0].features["audio"], stores[2].features["audio"])


@pytest.mark.parametrize(
    "shapes",
    [
        {"left": (5,), "right": (7,)},
        {"a": (3,), "b": (2, 3, 4), "c": (1,), "d": (7, 7, 512)},
    ],
)
def test_any_number_and_shape_of_modalities(tmp_path, shapes):
    store = make_synthetic(tmp_path / "store", SyntheticParams(**SMALL, shapes=shapes, steps=3))
    assert store.shapes == shapes
    assert store.clips == 32
    assert set(store.label_info) == {"event", "fine", *(f"nuisance_{m}" for m in shapes)}


@pytest.mark.parametrize(("strength", "label"), [("coarse", "event"), ("fine", "fine"), ("nuisance", "nuisance_audio")])
def test_each_strength_governs_its_factor(tmp_path, strength, label):
    shapes = {"audio": (32,), "video": (2, 2, 16)}
    made = {
        value: make_synthetic(
            tmp_path / str(value),
            SyntheticParams(train=300, val=1, test=150, shapes=shapes, **{strength: value}),
        )
        for value in (0.0, 5.0)
    }
    chance = 1 / len(made[0.0].label_info[label].classes)
    assert linear_accuracy(made[0.0], "audio", label) < chance + 0.1
    assert linear_accuracy(made[5.0], "audio", label) > 0.85


def test_noise_and_nonlinearity_reach_the_features(tmp_path):
    quiet = make_synthetic(tmp_path / "quiet", SyntheticParams(**SMALL, noise=0.0, nuisance=0.0))
    active = quiet.labels["event"].any(-1)
    assert np.abs(quiet.features["audio"][~active]).max() == 0
    assert np.abs(quiet.features["audio"][active]).max(axis=-1).min() > 0
    # on a noiseless grid exactly one cell shows the event, the same one for the whole event
    cells = np.abs(quiet.features["video"]).max(axis=-1).reshape(*active.shape, -1) > 0
    assert set(cells[active].sum(-1)) == {1}
    straight = make_synthetic(tmp_path / "straight", SyntheticParams(**SMALL, nonlinearity=0.0))
    bent = make_synthetic(tmp_path / "bent", SyntheticParams(**SMALL, nonlinearity=0.5))
    assert not np.array_equal(straight.features["text"], bent.features["text"])


@pytest.mark.parametrize(("steps", "most", "shortest"), [(10, 2, 2), (10, 3, 3), (3, 2, 2), (1, 2, 1), (7, 1, 7)])
def test_events_have_onset_offset_and_their_shortest_length(steps, most, shortest):
    slots = event_slots(np.random.default_rng(0), 500, steps, most=most, many_share=0.5, shortest=shortest)
    counts = set()
    for clip in slots:
        numbers = [n for n in range(most) if (clip == n).any()]
        counts.add(len(numbers))
        assert numbers == list(range(len(numbers)))
        for n in numbers:
            where = np.flatnonzero(clip == n)
            assert len(where) >= shortest
            assert (np.diff(where) == 1).all()
        assert (np.diff(clip[clip >= 0]) >= 0).all()
    assert counts == set(range(1, min(most, steps // shortest) + 1))


def test_two_share_sets_how_many_clips_have_two_events():
    for share in (0.0, 0.3, 1.0):
        slots = event_slots(np.random.default_rng(1), 2000, 10, most=2, many_share=share, shortest=2)
        assert (slots == 1).any(axis=1).mean() == pytest.approx(share, abs=0.04)


def test_the_events_of_a_clip_differ():
    values = distinct(np.random.default_rng(0), 300, 2, 8)
    assert (values[:, 0] != values[:, 1]).all()
    assert set(values.ravel()) == set(range(8))
    assert distinct(np.random.default_rng(0), 5, 3, 1).tolist() == [[0, 0, 0]] * 5


def test_unusable_parameters_are_refused():
    with pytest.raises(ValidationError, match=r"(?s)shape of b is \(2, 2\).*shortest=3 exceeds steps=2"):
        SyntheticParams(shapes={"a": (2,), "b": (2, 2)}, shortest=3, steps=2)
    with pytest.raises(ValidationError, match="at least 2"):
        SyntheticParams(shapes={"a": (2,)})
    with pytest.raises(ValidationError, match="Extra inputs"):
        SyntheticParams(nois=1.0)
