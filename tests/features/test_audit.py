import numpy as np
import pytest

from srcid.features import FeatureStore, SyntheticParams, audit, checks, make_synthetic
from srcid.features.figures import label_bars


@pytest.fixture
def spoilt(tmp_path):
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((10, 4, 3))
    sound[:, :, 1] = 7.0
    sound[2] = sound[9]
    picture = rng.standard_normal((10, 4, 2, 2, 2))
    picture[1, 2:] = 0
    picture[3, 3] = picture[3, 2]
    picture[4, 3] = 0
    picture[5, 1] = picture[5, 0]
    sound[5, 1] = sound[5, 0]
    sound[0] = sound[5]
    masks = {"picture": np.ones((10, 4), bool)}
    masks["picture"][4, 3] = False
    event = np.zeros((10, 4, 3), bool)
    event[:6, 0, 0] = event[6, 1, 1] = event[7, 1, 0] = True
    return FeatureStore.create(
        tmp_path / "store",
        {"sound": sound, "picture": picture},
        labels={"event": event, "mood": np.arange(10) % 2},
        classes={"event": ["bark", "bell", "rain"]},
        splits={"train": np.arange(7), "test": [7, 9]},
        masks=masks,
    )


@pytest.mark.parametrize("chunk", [1, 150, 2**20])
def test_what_is_wrong_is_counted(spoilt, chunk, monkeypatch):
    monkeypatch.setattr(checks, "CHUNK_BYTES", chunk)
    found = audit(spoilt)
    assert found.clips == {"train": 7, "test": 2, "(none)": 1}
    assert found.constant == {"sound": 1, "picture": 0}
    assert found.duplicates == {"sound": ((0, 5), (2, 9)), "picture": ()}
    assert found.zero == {"sound": 0, "picture": 2}
    assert found.repeated == {"sound": 2, "picture": 2}
    assert found.padding == 1
    assert found.missing == {"sound": 0, "picture": 1}
    assert found.non_finite == {"sound": 0, "picture": 0}


def test_problems_are_told_in_sentences(spoilt):
    found = audit(spoilt)
    for part in (
        "1 clips are in no split",
        "sound: 1 of 3 features never change",
        "sound: 2 clips duplicate another one (first: rows 0, 5); 1 of 2 groups reach over several splits",
        "picture: 2 steps are zero throughout and not masked",
        "1 steps repeat the step before in every modality",
        "picture: 1 of 40 steps are masked out",
        "event: split train has no clip of rain",
        "event: split test has no clip of bell, rain",
        "event: in split train the commonest class has 6 clips, the rarest 1",
    ):
        assert any(part in problem for problem in found.problems), part
    assert len(found.problems) == 9


def test_balance_by_split_and_class(spoilt):
    found = audit(spoilt)
    assert found.balance_counts["event"]["test"] == {"bark": 1, "bell": 0, "rain": 0, "(none)": 2}
    assert found.balance_counts["mood"]["train"] == {"0": 4, "1": 3, "(none)": 0}
    assert found.shares().loc["train"].to_dict() == pytest.approx({"bark": 6 / 7, "bell": 1 / 7, "rain": 0})
    assert found.frame().index.tolist() == ["sound", "picture"]
    assert found.frame().loc["sound", "duplicated clips"] == 2
    assert "occurs in 0% to" in found.finding and found.finding.endswith("; 9 problems found")


def test_made_data_have_no_problems(tmp_path):
    store = make_synthetic(tmp_path / "store", SyntheticParams(train=400, val=200, test=200))
    assert audit(store).problems == () and audit(store).finding.endswith("; no problems found")


def test_damage_after_writing_is_found_without_hashes(tmp_path):
    store = make_synthetic(tmp_path / "store", SyntheticParams(train=5, val=2, test=2))
    array = np.load(store.path / "features/audio.npy", mmap_mode="r+")
    array[3, 4, 5:7] = np.nan
    array.flush()
    found = audit(FeatureStore.open(store.path, verify=False))
    assert found.non_finite == {"audio": 2, "video": 0, "text": 0}
    assert "audio: 2 values are not finite" in found.problems


def test_unlabelled_steps_take_no_part_in_the_balance(tmp_path):
    event = np.ma.array(np.zeros((4, 2, 2), bool), mask=False)
    event[:2, 0, 0] = True
    event[3], event[0, 1] = np.ma.masked, np.ma.masked
    features = {m: np.random.default_rng(0).random((4, 2, 3)) for m in "ab"}
    store = FeatureStore.create(
        tmp_path / "store", features, labels={"event": event}, classes={"event": ["x", "y"]}, splits={"all": range(4)}
    )
    found = audit(store)
    assert found.balance_counts["event"]["all"] == {"x": 2, "y": 0, "(none)": 2}
    assert "event: 1 of 4 clips are unlabelled, and 3 of 8 steps" in found.problems
    rows = label_bars(store, 3)[1], label_bars(store, 2)[1], label_bars(store, 0)[1]
    assert rows == (["event: unlabelled"], ["event: none"], ["event: x", "event: unlabelled"])
