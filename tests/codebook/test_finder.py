"""Clips are found by what holds at one of their steps, the most doubtful first, and kept under a name."""

import numpy as np
import pandas as pd
import pytest

from srcid.codebook.browser.finder import ClipFinder
from srcid.codebook.finder import find_clips
from srcid.symbols import InspectionError


@pytest.fixture
def table(tables):
    return tables["vq"]


def steps_of(table, layer=1):
    return np.stack([table.code(layer, m) for m in table.modalities])


def test_everything_asked_holds_at_one_step(table):
    codes, event = steps_of(table), np.asarray(table.labels["event"])
    code = int(np.bincount(codes[codes >= 0]).argmax())
    found = find_clips(table, code=code, name="horn")
    holds = (codes == code) & event[..., 1]
    assert set(found["clip"]) == set(np.flatnonzero(holds.any((0, 2)))) and len(found)
    for row in found.itertuples():
        assert row.steps == holds[:, row.clip].sum() and row.code == code and event[row.clip, row.step, 1]
        assert holds[table.modalities.index(row.modality), row.clip, row.step]
        assert "horn" in row.classes and row.id == table.ids[row.clip] and row.clip in table.splits[row.split]


def test_the_most_doubtful_step_of_a_clip_decides_its_place(table):
    found = find_clips(table, "test")
    margin = np.stack([table.margin(1, m) for m in table.modalities])
    assert sorted(found["clip"]) == sorted(table.splits["test"])
    assert found["margin"].tolist() == pytest.approx(sorted(np.nanmin(margin[:, table.splits["test"]], (0, 2))))
    for row in found.itertuples():
        assert row.margin == margin[table.modalities.index(row.modality), row.clip, row.step]


def test_two_modalities_differ(table):
    first, _, third = steps_of(table)
    both = (first >= 0) & (third >= 0)
    found = find_clips(table, differ=("first", "third"), sort="differ")
    assert set(found["clip"]) == set(np.flatnonzero((both & (first != third)).any(1)))
    share = (both & (first != third)).sum(1) / both.sum(1)
    assert found["differ"].tolist() == pytest.approx(share[found["clip"]]) and (np.diff(found["differ"]) <= 0).all()
    assert set(found["modality"]) <= {"first", "third"}
    for row in found.itertuples():
        assert first[row.clip, row.step] != third[row.clip, row.step]


def test_nothing_found_is_an_empty_table_of_the_same_columns(table):
    codes = steps_of(table)
    unused = np.setdiff1d(np.arange(table.symbols(1)), codes)
    if not len(unused):  # every code is used: a code and a class that never meet, or rows that lack it
        rows = np.flatnonzero(~(codes == 0).any((0, 2)))
        found = find_clips(table, rows, code=0)
    else:
        found = find_clips(table, code=int(unused[0]))
    assert found.empty and list(found) == list(find_clips(table))


def test_what_is_not_there_is_said(table, tables, write_table):
    for asked, words in (
        (dict(code=10**6), "not a code 1000000"), (dict(layer=9), "not a layer 9"),
        (dict(name="cat"), "no class 'cat'"),
        (dict(differ=("first", "smell")), "no modality 'smell'"), (dict(sort="beauty"), "need one of margin"),
        (dict(clips="nosuch"), "no split 'nosuch'"),
    ):  # fmt: skip
        with pytest.raises(InspectionError, match=words):
            find_clips(table, **asked)
    with pytest.raises(InspectionError, match="identity quantiser"):
        find_clips(tables["identity"])
    plain = find_clips(write_table({1: {"a": np.zeros((3, 2), int), "b": np.ones((3, 2), int)}}))
    assert plain["margin"].isna().all() and plain["classes"].tolist() == [""] * 3 and plain["step"].tolist() == [0] * 3
    assert any("no labels" in note for note in plain.attrs["notes"]) and len(plain.attrs["notes"]) == 2
    assert plain["differ"].tolist() == [1.0] * 3


def test_a_selection_has_a_name_and_a_note_and_comes_back(table, tmp_path):
    told = []
    view = ClipFinder(table, "test", folder=tmp_path / "selections", on_code=lambda *code: told.append(code))
    assert len(view.frame()) == len(table.splits["test"]) and "8 of 8 test clips" in view.said.value
    view.named.value = ("event", "rain")
    rain = view.frame()
    assert 0 < len(rain) < 8 and rain["classes"].str.contains("rain").all()
    view.name.value, view.note.value = "wet <clips>", "listen again"
    view.keep.click()
    assert "need up to 60 letters" in view.guard.message.value and not view.kept
    view.name.value = "wet clips"
    view.keep.click()
    assert "wet clips" in view.said.value and not view.guard.message.value
    again = ClipFinder(table, folder=tmp_path / "selections").kept["wet clips"]
    pd.testing.assert_frame_equal(again, rain, check_dtype=False)
    assert again.attrs["note"] == view.kept["wet clips"].attrs["note"] == "listen again"
    assert not told
    view.code.value = int(rain["code"].iloc[0])
    assert told == [(1, int(rain["code"].iloc[0]))]
    view.code.value = 10**6
    assert "not a code" in view.guard.message.value
    assert view.said.value == view.view.value == "" and view.frame().empty  # nothing of what was asked before
    view.keep.click()
    assert "no clip to keep" in view.guard.message.value
    view.code.value = -1
    assert len(view.frame()) == len(rain) and not view.guard.message.value


def test_found_clips_show_what_they_are(tables, tmp_path):
    from tests.helpers import media_store, tiny_table

    table = tiny_table(media_store(tmp_path / "store"), tmp_path / "codes")
    view = ClipFinder(table, "test")
    view.named.value = ("event", "bark")
    row, html = view.frame().iloc[0], view.figure().data
    assert str(row["id"]) in html and f"step {row['step']}" in html and html.count("<figure") == 3 * len(view.frame())
    assert "data:audio" in html and "data:image/png" in html and "barks" in html
    assert "identity quantiser" in ClipFinder(tables["identity"]).figure().data
