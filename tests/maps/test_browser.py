"""Linked maps: a choice in one map reaches the others, the counts and the explorer, as fast as a person expects."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from srcid.maps.atlas import Missing
from srcid.maps.browser import LinkedMaps
from srcid.maps.figures.panels import place_media
from srcid.maps.linking import Links
from srcid.maps.points import Points, feature_points
from srcid.maps.projection import project
from srcid.style import code_color
from tests.maps.test_figures import MODALITIES, feature_columns

CODES = 9


def view(n=300, layer=1, order=None, seed=0):
    """A map of feature points, optionally in another order, of another layer's codes."""
    columns = feature_columns(n, layer)
    columns["code"] = np.random.default_rng(layer).integers(0, CODES, size=n)
    features = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    order = np.arange(n) if order is None else order
    named = {name: column[order] for name, column in columns.items()}
    return project(Points(features[order], named, f"general features of layer {layer}"), "pca")


def codebook(layer=1, symbol=None):
    columns = {
        "code": np.arange(CODES),
        "symbol": np.arange(CODES) if symbol is None else symbol,
        "layer": np.full(CODES, layer),
        "stage": np.ones(CODES, int),
        "uses": np.arange(CODES),
        "modality": np.full(CODES, "all"),
    }
    points = Points(np.random.default_rng(3).normal(size=(CODES, 4)), columns, f"codebook of layer {layer}")
    return project(points, "pca")


@pytest.fixture(scope="module")
def views():
    """Layer 1, layer 2 with its points in another order, and the codebook of layer 1."""
    return view(), view(layer=2, order=np.random.default_rng(5).permutation(300)), codebook()


@pytest.fixture
def looked_up():
    return []


@pytest.fixture
def linked(views, looked_up):
    return LinkedMaps(views, MODALITIES, on_code=lambda layer, code: looked_up.append((layer, code)))


def places(projection, rows):
    columns = projection.columns
    return {(columns["modality"][i], columns["clip"][i], columns["step"][i]) for i in rows}


def select(linked, panel, rows):
    """What plotly sends after a lasso: every trace hears of it in turn, one of them with points."""
    linked.view._handler_js2py_pointsCallback(
        {
            "new": {
                "event_type": "plotly_selected",
                "selector": {"type": "lasso", "selector_state": {"xs": [], "ys": []}},
                "points": {
                    "xs": [0.0] * len(rows),
                    "ys": [0.0] * len(rows),
                    "point_indexes": list(rows),
                    "trace_indexes": [panel] * len(rows),
                },
            }
        }
    )


def click(linked, panel, row):
    points = {"xs": [0.0], "ys": [0.0], "point_indexes": [row], "trace_indexes": [panel]}
    linked.view._handler_js2py_pointsCallback({"new": {"event_type": "plotly_click", "points": points}})


def marked(linked):
    return [None if t.selectedpoints is None else list(t.selectedpoints) for t in linked.view.data]


def test_a_lasso_marks_the_same_places_and_their_codes_in_the_other_maps(linked, views):
    select(linked, 0, [4, 10, 250])
    own, other, codes = marked(linked)
    assert own == [4, 10, 250]
    assert places(views[1], other) == places(views[0], own)
    assert codes == sorted(set(views[0].columns["code"][own].tolist()))
    assert "3 of 300 points" in linked.counts.value and not linked.guard.message.value


def test_a_lasso_in_the_codebook_marks_the_points_that_have_these_codes(linked, views):
    select(linked, 2, [3, 5])
    own, other, codes = marked(linked)
    assert codes == [3, 5]
    assert own == np.flatnonzero(np.isin(views[0].columns["code"], [3, 5])).tolist()
    assert places(views[1], other) == places(views[0], own)


def test_a_lasso_around_nothing_changes_nothing_and_clear_marks_nothing(linked):
    select(linked, 0, [1])
    before = marked(linked)
    select(linked, 1, [])
    assert marked(linked) == before and before[0] == [1]
    linked.clear.click()
    assert marked(linked) == [None] * 3 and linked.chosen is None and "Nothing is marked" in linked.counts.value


def test_the_outline_of_a_lasso_is_taken_away(linked):
    sent = []
    linked.view.observe(lambda change: sent.append(change["new"]), "_py2js_relayout")
    select(linked, 0, [1])
    assert [message["relayout_data"] for message in sent if message] == [{"selections": []}]


def test_the_table_counts_by_modality_class_and_code(linked, views):
    rows = np.arange(0, 300, 7)
    linked.choose(0, rows)
    columns = views[0].columns
    counts = linked.chosen.counts
    assert {name: here for name, here, _ in counts["modality"]} == {
        m: int((columns["modality"][rows] == m).sum()) for m in MODALITIES
    }
    assert {name: (here, every) for name, here, every in counts["label"]} == {
        name: (int((columns["label"][rows] == name).sum()), int((columns["label"] == name).sum()))
        for name in np.unique(columns["label"][rows])
    }
    assert sum(here for _, here, _ in counts["code of layer 2"]) == len(rows)
    assert "code of layer 1" in linked.counts.value and "lift" in linked.counts.value


def test_a_click_looks_the_code_up_once_and_marks_all_points_with_it(linked, views, looked_up):
    click(linked, 1, 17)
    code = views[1].columns["code"][17]
    assert looked_up == [(2, code)]
    assert marked(linked)[1] == np.flatnonzero(views[1].columns["code"] == code).tolist()
    click(linked, 2, 6)
    assert looked_up[1:] == [(1, 6)] and marked(linked)[2] == [6]


def test_errors_of_the_explorer_are_shown_not_swallowed(views):
    def fail(layer, code):
        raise RuntimeError("no such card")

    linked = LinkedMaps(views, MODALITIES, on_code=fail)
    click(linked, 0, 3)
    assert "no such card" in linked.guard.message.value


def test_hovering_is_off_while_choosing(linked):
    assert linked.view.layout.dragmode == "lasso" and linked.view.layout.hovermode is False
    linked.mode.value = "point and click"
    assert linked.view.layout.dragmode == "zoom" and linked.view.layout.hovermode == "closest"
    linked.view.layout.dragmode = "select"  # by the buttons above the figure
    assert linked.view.layout.hovermode is False and linked.mode.value == "box"


def test_colours_and_values_without_a_mouse(linked, views):
    linked.color.value = "code"
    trace = linked.view.data[1]
    scale = dict((round(edge, 6), color) for edge, color in trace.marker.colorscale)
    assert code_color(int(views[1].columns["code"].min()), 2) in scale.values()
    linked.color.value = "label"
    linked.value.value = "bark"
    assert marked(linked)[0] == np.flatnonzero(views[0].columns["label"] == "bark").tolist()
    assert [name for name, _, _ in linked.chosen.counts["label"]] == ["bark"]


def test_the_static_twin_shows_what_is_marked(linked):
    linked.choose(0, [1, 2])
    still = linked.figure()
    assert [list(t.selectedpoints) for t in still.data] == marked(linked)
    assert still.layout.hovermode is None  # a picture of the maps, with plotly's own defaults


def test_what_is_missing_is_said_and_the_rest_works(views, looked_up):
    missing = Missing("codebook of layer 1", "it has no codebook (identity)")
    linked = LinkedMaps([missing, views[0]], MODALITIES)
    linked.choose(1, [5])
    assert list(linked.view.data[1].selectedpoints) == [5]
    alone = LinkedMaps([missing], MODALITIES)
    assert "no map to choose from" in alone.counts.value and alone.frame().empty
    with pytest.raises(ValueError, match="need one or more"):
        LinkedMaps([], MODALITIES)


def test_points_without_codes_say_so_when_clicked():
    columns = {name: column for name, column in feature_columns().items() if name not in ("code", "agreement")}
    plain = project(Points(np.random.default_rng(0).normal(size=(300, 4)), columns, "points"), "pca")
    linked = LinkedMaps([plain], MODALITIES)
    click(linked, 0, 0)
    assert "have no codes" in linked.guard.message.value


def test_a_vector_of_one_stage_is_no_code(looked_up):
    linked = LinkedMaps([codebook(symbol=np.full(CODES, -1))], MODALITIES, on_code=looked_up.append)
    click(linked, 0, 4)
    assert "Vector 4 of stage 1 is no code by itself" in linked.guard.message.value and not looked_up


def test_maps_of_three_dimensions_are_refused():
    deep = project(Points(np.random.default_rng(0).normal(size=(30, 4)), {}, "points"), "pca", dimensions=3)
    with pytest.raises(ValueError, match="two dimensions"):
        LinkedMaps([deep], MODALITIES)


def test_maps_of_other_things_are_linked_row_by_row():
    links = Links([{"word": np.array(list("abcd"))}, {"size": np.arange(4)}])
    choice = links.choose(1, [2, 0])
    assert [rows.tolist() for rows in choice.rows] == [[0, 2], [0, 2]] and (choice.size, choice.total) == (2, 4)


def test_no_callback_is_slow_with_ten_thousand_points(looked_up):
    large = [view(9999), view(9999, layer=2), codebook()]
    linked = LinkedMaps(large, MODALITIES, on_code=lambda layer, code: looked_up.append(code))
    actions = [lambda: select(linked, 0, range(5000)), lambda: click(linked, 1, 7)]
    actions += [lambda c=c: setattr(linked.color, "value", c) for c in ("label", "code", "step", "modality")]
    actions += [lambda: setattr(linked.value, "value", "first"), linked.clear.click]
    for action in actions:
        spent = time.process_time()  # of this process: what else the machine does is of no account
        action()
        assert time.process_time() - spent < 0.2
    assert len(looked_up) == 1 and not linked.guard.message.value


def test_one_selection_goes_both_ways_and_ends(views):
    """Two views that follow each other, as the maps and the explorer do."""
    asked = []

    def explorer(layer, code):
        asked.append((layer, code))
        linked.choose_code(layer, code)

    linked = LinkedMaps(views, MODALITIES, on_code=explorer)
    click(linked, 2, 4)
    assert asked == [(1, 4)] and marked(linked)[2] == [4]
    explorer(1, 5)
    assert marked(linked)[2] == [5]
    linked.choose_code(1, 10**6)
    assert marked(linked) == [None] * 3


def test_a_selection_is_kept_by_name_and_is_a_table(views, tmp_path):
    linked = LinkedMaps(views, MODALITIES, folder=tmp_path / "selections")
    linked.keep.click()
    assert "Found nothing marked" in linked.guard.message.value
    select(linked, 1, [7, 8, 9])
    for name in ("../evil", "", "x" * 61, "a/b", ".hidden"):
        linked.name.value = name
        linked.keep.click()
        assert "need up to 60 letters" in linked.guard.message.value and not linked.kept
    linked.name.value = "left island"
    linked.keep.click()
    table = linked.kept["left island"]
    assert not linked.guard.message.value and "left island (3)" in linked.counts.value
    assert set(zip(table["modality"], table["clip"], table["step"], strict=True)) == places(views[1], [7, 8, 9])
    pandas.testing.assert_frame_equal(table, linked.frame())
    for layer, found in ((1, views[0]), (2, views[1])):
        codes = dict(zip(zip(*(found.columns[n] for n in ("modality", "clip", "step")), strict=True),
                         found.columns["code"], strict=True))  # fmt: skip
        said = [codes[place] for place in zip(table["modality"], table["clip"], table["step"], strict=True)]
        assert table[f"code/{layer}"].tolist() == said
    again = LinkedMaps(views, MODALITIES, folder=tmp_path / "selections").kept
    assert list(again) == ["left island"] and again["left island"]["clip"].tolist() == table["clip"].tolist()


def test_a_choice_is_a_sentence_and_a_table(linked, views):
    linked.choose(0, np.arange(30))
    assert linked.chosen.finding == "30 of 300 points (10.0%) are marked" and linked.chosen.finding in re.sub(
        "<.*?>", "", linked.counts.value
    )
    table = linked.chosen.frame()
    assert table[table["column"] == "modality"]["marked"].sum() == 30
    assert (table["lift"] == table["marked"] / table["all"] / 0.1).all()


def test_the_mouse_over_a_point_shows_what_is_there(tables):
    table = tables["vq"]
    found = project(feature_points(table, 1, limit=90), "pca")
    linked = LinkedMaps([found], table.modalities, table=table)
    points = {"xs": [0.0], "ys": [0.0], "point_indexes": [11], "trace_indexes": [0]}
    linked.view._handler_js2py_pointsCallback({"new": {"event_type": "plotly_hover", "points": points}})
    clip, step = found.columns["clip"][11], found.columns["step"][11]
    assert f"clip {table.ids[clip]}, step {step}" in linked.media.value
    assert "data:image/png;base64," in linked.media.value and "first" in linked.media.value
    assert not linked.guard.message.value


def test_what_is_gone_is_said_and_hostile_names_stay_text(tables):
    fake = SimpleNamespace(
        modalities=("<img src=x>",), ids=np.array(["<script>1</script>"]), store_path="nowhere", checksum="",
        media={"<img src=x>": np.array([["digits:99999", "word:<b>bark</b>"]])},
    )  # fmt: skip
    gone, word = place_media(fake, 0, 0), place_media(fake, 0, 1)
    assert "digits:99999" in gone and "&lt;script&gt;" in gone and "<script>" not in gone
    assert "&lt;b&gt;bark" in word and "&lt;img src=x&gt;" in word
    fake.media = {}
    assert "no media are kept" in place_media(fake, 0, 0)
