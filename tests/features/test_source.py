import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from srcid.features import FeatureStore, StoreError, open_data
from srcid.features.source import check_data, clips_of
from srcid.params import ParameterError

SMALL = dict(train=8, val=3, test=3)


def test_a_named_data_set_is_made_once(tmp_path):
    first = open_data("synthetic", tmp_path / "cache", SMALL)
    made = first.path.stat().st_mtime_ns
    again = open_data("synthetic", tmp_path / "cache", SMALL)
    assert again.path == first.path
    assert again.path.stat().st_mtime_ns == made
    assert len(first.splits["train"]) == 8


def test_other_options_make_another_store(tmp_path):
    stores = [
        open_data("synthetic", tmp_path, {**SMALL, **options})
        for options in (
            {},
            {"seed": 1},
            {"shapes": {"a": (3,), "b": (3,)}},
            {"shapes": {"b": (3,), "a": (3,)}},
        )
    ]
    assert len({store.path for store in stores}) == 4
    assert [store.modalities for store in stores[2:]] == [("a", "b"), ("b", "a")]


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_the_number_of_threads_changes_no_bit(name, tmp_path):
    """As in a sweep, whose runs have one thread each, and by hand; with 300 clips BLAS does share out the work."""
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            found.append(open_data(name, tmp_path / str(threads), dict(train=260, val=20, test=20)).checksum)
    assert found[0] == found[1]


def test_digits_are_made_and_found_again_by_what_they_are_made_of(shared, tmp_path):
    fsdd = shared / "data" / "fsdd"
    spoken = open_data("digits", tmp_path, SMALL)
    assert open_data("digits", tmp_path, {"fsdd": "", **SMALL}).path == spoken.path
    first = open_data("digits", tmp_path, {"fsdd": str(fsdd), **SMALL})
    assert first.path != spoken.path
    again = open_data("digits", tmp_path, {"fsdd": str(fsdd / "recordings"), **SMALL})
    assert again.path == first.path


def test_how_many_clips_there_are_is_said_where_it_is_known_before():
    assert clips_of("synthetic", SMALL) == 14
    assert clips_of("stamps") is None


def test_a_path_is_opened(tmp_path):
    features = {m: np.ones((2, 2, 1)) for m in "ab"}
    made = FeatureStore.create(tmp_path / "mine", features, splits={"all": [0, 1]})
    assert open_data(made.path, tmp_path).checksum == made.checksum
    with pytest.raises(ParameterError, match=r"found options seed .* leave\s+them out"):
        open_data(made.path, tmp_path, {"seed": 1})


def test_unknown_data_are_refused_with_a_suggestion(tmp_path):
    with pytest.raises(StoreError, match=r"found 'synthetik', .* \(did you mean 'synthetic'\?\)"):
        open_data("synthetik", tmp_path)
    made = open_data("synthetic", tmp_path, SMALL)
    with pytest.raises(StoreError, match=made.path.name):
        open_data(str(made.path) + "x", tmp_path)
    with pytest.raises(StoreError, match=r"no manifest\.json"):
        open_data(tmp_path, tmp_path)


def test_unusable_options_are_told_at_once(tmp_path):
    with pytest.raises(ParameterError) as caught:
        open_data("synthetic", tmp_path, {"nois": 1.0, "clases": 3, "train": 0})
    text = str(caught.value)
    for part in ("'nois' is no parameter (did you mean 'noise'?)", "did you mean 'classes'?", "train=0"):
        assert part in text
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_made_store_is_not_used(tmp_path):
    store = open_data("synthetic", tmp_path, SMALL)
    file = store.path / "features/text.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(StoreError, match="damaged"):
        open_data("synthetic", tmp_path, SMALL)


def test_checking_tells_everything_that_making_would_and_makes_nothing(tmp_path):
    assert check_data("synthetic", tmp_path, SMALL) == check_data("synthetic", tmp_path) == []
    told = check_data("digits", tmp_path, {"fsdd": "nowhere", "typoss": 1, "train": 0})
    assert len(told) == 3 and "found no 0_SPEAKER_0.wav in nowhere" in told[0]
    assert "did you mean 'typos'?" in "".join(told) and "train=0" in "".join(told)
    assert check_data("digits", tmp_path) == []
    [told] = check_data("digits", tmp_path, {"fsdd": "nowhere"})
    assert "give its folder as fsdd=PATH" in told
    [told] = check_data("synthetik", tmp_path)
    assert "did you mean 'synthetic'?" in told
    assert list(tmp_path.iterdir()) == []


def test_checking_a_store_looks_at_its_files_and_reads_no_values(tmp_path):
    store = open_data("synthetic", tmp_path, SMALL)
    assert check_data(store.path, tmp_path) == []
    assert "leave them out" in check_data(store.path, tmp_path, {"seed": 1})[0]
    file = store.path / "features/text.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert check_data(store.path, tmp_path) == []
    with pytest.raises(StoreError, match="SHA-256"):
        open_data(store.path, tmp_path)
    file.write_bytes(whole[:-4])
    [told] = check_data(store.path, tmp_path)
    assert "is damaged" in told and "features/text.npy" in told


def test_recordings_that_are_there_are_enough_for_checking(shared, tmp_path):
    assert check_data("digits", tmp_path, {"fsdd": str(shared / "data" / "fsdd")}) == []
