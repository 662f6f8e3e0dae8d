"""Codes of two tables matched: renamed codes find each other, and what is not there is not found."""

import shutil

import numpy as np
import pytest

from srcid.codebook.figures.agreement import matching_figure
from srcid.codebook.matching import match_codes
from srcid.codes import CodeTable
from srcid.symbols import InspectionError

CLIPS, STEPS, CODES = 60, 8, 6
KINDS = {"event": ("category", "step", ["bark", "horn", "rain"])}


@pytest.fixture
def pair(write_table, tmp_path):
    """Write two tables of one store: codes ``[N, T]`` of audio and video each, with one label."""

    def write(first, second, label=None):
        found = []
        for name, codes in (("a", first), ("b", second)):
            labels = {} if label is None else {"event": label}
            made = write_table({1: {"audio": codes[0], "video": codes[1]}}, labels, KINDS)
            shutil.move(made.path, tmp_path / name)
            found.append(CodeTable.open(tmp_path / name))
        return dict(zip(("old", "new"), found, strict=True))

    return write


@pytest.fixture
def codes():
    draw = np.random.default_rng(0)
    return draw.integers(CODES, size=(2, CLIPS, STEPS))


def test_a_renamed_codebook_is_matched_whole(pair, codes):
    names = np.random.default_rng(1).permutation(CODES)
    found = match_codes(pair(codes, names[codes]))
    assert found.partners == {int(names[c]): c for c in range(CODES)}
    assert found.share.value == 1 and found.unmatched == ((), ()) and found.codes == (CODES, CODES)
    assert found.chance == pytest.approx(1 / CODES, abs=0.06)
    assert (np.diag(found.counts) == found.counts.sum(axis=1)).all()
    assert all(m.of_first == m.of_second == 1 for m in found.matches)


def test_independent_codes_match_no_more_than_chance_on_clips_that_took_no_part(pair, codes):
    other = np.random.default_rng(2).integers(CODES, size=codes.shape)
    found = match_codes(pair(codes, other))
    assert found.share.low < found.chance < found.share.high
    best = np.diag(found.counts).sum() / found.counts.sum()
    assert best > found.share.value  # what the matching itself was chosen on looks better


def test_a_code_that_was_split_leaves_one_half_without_a_partner(pair, codes):
    """Code 0 is 0 in early clips and 6 in late ones; the more frequent half is its partner."""
    late = np.arange(CLIPS)[None, :, None] >= 40
    split = np.where((codes == 0) & late, CODES, codes)
    found = match_codes(pair(codes, split))
    assert found.partners == {c: c for c in range(CODES)} and found.unmatched == ((), (CODES,))
    zero = next(m for m in found.matches if m.first == 0)
    assert zero.of_first == pytest.approx((codes[:, :40] == 0).sum() / (codes == 0).sum()) and zero.of_second == 1
    assert "0 of 6 and 1 of 7 codes without a partner" in found.finding


def test_a_code_that_now_means_another_class_is_counted(pair):
    """Code 3 keeps its steps in clips of one class, and gains many of another: its partner, another majority."""
    draw = np.random.default_rng(5)
    label = np.repeat(np.arange(CLIPS) % 3, STEPS).reshape(CLIPS, STEPS)
    first = 4 + draw.integers(20, size=(CLIPS, STEPS))
    first[:, :2] = np.where(label[:, :2] == 0, 3, first[:, :2])
    second = first.copy()
    second[:, 2:] = np.where(label[:, 2:] == 1, 3, second[:, 2:])
    found = match_codes(pair(np.stack([first] * 2), np.stack([second] * 2), label))
    assert [(m.first, m.second, m.classes) for m in found.matches if m.changed] == [(3, 3, ("bark", "horn"))]
    assert found.frame().iloc[0][["old", "new", "changed"]].tolist() == [3, 3, True]
    assert f"1 of {len(found.matches)} pairs with another majority class ('event')" in found.finding
    figure = matching_figure([found])
    marks = next(t for t in figure.data if t.name == "another majority class")
    assert len(marks.x) == 1 and "bark" in marks.customdata[0] and "horn" in marks.customdata[0]


def test_without_a_label_classes_are_left_out_and_said(pair, codes):
    found = match_codes(pair(codes, codes))
    assert not any(m.changed for m in found.matches) and "has no labels" in found.notes[0]
    assert "majority" not in found.finding
    figure = matching_figure([found])
    assert figure.layout.title.text.replace("<br>", " ") == f"Old and new: {found.summary}"
    assert found.finding == f"old and new, {found.summary}"


def test_what_cannot_be_matched_is_refused(pair, codes):
    tables = pair(codes, codes)
    with pytest.raises(InspectionError, match="found 1 of the two code tables"):
        match_codes({"old": tables["old"]})
    with pytest.raises(InspectionError, match="not a layer 2"):
        match_codes(tables, layer=2)
    with pytest.raises(InspectionError, match=r"found 1 clip\(s\)"):
        match_codes(tables, clips=np.array([0]))
    other = CodeTable(tables["new"].path, tables["new"].manifest | {"store": dict(path="x", checksum="1")})
    with pytest.raises(InspectionError, match="2 different stores"):
        match_codes({"old": tables["old"], "new": other})
    assert "no second run" in matching_figure([]).layout.title.text


def test_codes_that_are_never_at_one_step_are_refused(pair, codes):
    early, late = codes.copy(), codes.copy()
    early[..., STEPS // 2 :] = late[..., : STEPS // 2] = -1
    with pytest.raises(InspectionError, match="no step has a code of layer 1 in both tables"):
        match_codes(pair(early, late))
