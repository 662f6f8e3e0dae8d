"""Clips of several runs one above the other: the same clip, each run's own codes."""

from __future__ import annotations

import numpy as np
import pytest

from srcid.codebook.figures.strips import InspectionError, code_strip, code_strips
from srcid.codebook.matching import match_codes
from srcid.style import code_color
from tests.helpers import tiny_store, tiny_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("strips")


@pytest.fixture(scope="module")
def tables(folder):
    store = tiny_store(folder / "store")
    return {
        "two layers": tiny_table(store, folder / "a"),
        "one layer": tiny_table(store, folder / "b", layers=1, codebook_size=9),
        "identity": tiny_table(store, folder / "c", quantizer="identity"),
    }


def cells(fig):
    return [trace for trace in fig.data if trace.type == "heatmap"]


def test_every_run_has_its_rows_of_codes_below_the_events(tables):
    two = {name: tables[name] for name in ("two layers", "one layer")}
    fig = code_strips(two, 33)
    assert "Clip 33 (clip-000033) in 2 codebooks" in fig.layout.title.text
    heads = [note.text for note in fig.layout.annotations if note.name != "caption"]
    assert [head.partition(":")[0] for head in heads] == list(two)
    assert [tuple(trace.meta) for trace in cells(fig)] == [("two layers", 1), ("two layers", 2), ("one layer", 1)]
    for trace in cells(fig):
        name, layer = trace.meta
        codes = np.stack([two[name].code(layer, m)[33] for m in two[name].modalities])
        _, expected = np.unique(codes, return_inverse=True)
        np.testing.assert_array_equal(np.array(trace.z, float).ravel(), expected.ravel())
        assert f"code {codes[1, 2]}" in trace.customdata[1][2] and "distance" in trace.customdata[1][2]
    assert sum(trace.type == "bar" for trace in fig.data) == 1  # the events stand above, once
    above, first, second = (axis.domain for axis in fig.select_yaxes())
    assert above[0] > first[1] > first[0] > second[1]
    assert {axis.matches or axis.anchor for axis in fig.select_xaxes()} <= {"x", "x3", "y3"}  # one axis of time


def test_matched_codes_of_the_other_run_have_the_colour_of_their_partner(tables):
    two = {name: tables[name] for name in ("two layers", "one layer")}
    matching = match_codes(two, bootstrap=0)
    fig = code_strips(two, 33, [matching])
    other = next(trace for trace in cells(fig) if trace.meta[0] == "one layer")
    codes = np.unique([two["one layer"].code(1, m)[33] for m in two["one layer"].modalities])
    painted = [color for _, color in other.colorscale[::2]]
    assert painted == [code_color(matching.partners.get(int(code), -1), 1) for code in codes]
    assert "is grey where it has none" in fig.layout.annotations[-1].text


def test_one_run_is_a_code_strip(tables):
    alone = code_strips({"": tables["two layers"]}, 5)
    assert alone.to_plotly_json() == code_strip(tables["two layers"], 5).to_plotly_json()
    assert "two modalities have the same code at" in alone.layout.title.text


def test_a_run_without_codes_says_so_in_its_place(tables):
    fig = code_strips(tables, 0)
    heads = [note.text for note in fig.layout.annotations if note.name != "caption"]
    assert len(heads) == 3 and heads[2] == "identity: no codes (identity quantiser)"
    assert {trace.meta[0] for trace in cells(fig)} == {"two layers", "one layer"}
    nothing = code_strips({"identity": tables["identity"]}, 0)
    assert "identity" in nothing.layout.title.text and not nothing.data


def test_numbers_that_do_not_fit_are_left_out(tables, folder):
    def numbers(table):
        return sum(trace.mode == "text" for trace in code_strip(table, 0).data if trace.type == "scatter")

    long = tiny_table(tiny_store(folder / "long", clips=10, steps=200), folder / "long codes")
    assert numbers(tables["two layers"]) == 2 and numbers(long) == 0


def test_runs_on_different_stores_are_refused(tables, folder):
    other = tiny_table(tiny_store(folder / "other", seed=3), folder / "d")
    with pytest.raises(InspectionError, match=r"2 different stores \(two layers: .*store; other: .*other\)"):
        code_strips({"two layers": tables["two layers"], "other": other}, 0)
    with pytest.raises(InspectionError, match="found no code table"):
        code_strips({}, 0)


@pytest.mark.parametrize("clip", [-1, 40])
def test_clips_that_are_not_there_are_refused(tables, clip):
    with pytest.raises(InspectionError, match=f"found clip {clip}, need a row from 0 to 39"):
        code_strip(tables["two layers"], clip)
