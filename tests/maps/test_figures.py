"""Map figures: one trace a panel, colours with a fixed meaning, quality and caption beside each map."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from srcid.maps.atlas import Missing
from srcid.maps.figures.coloring import CATEGORIES, REST, color_by, colorable
from srcid.maps.figures.panels import SVG_LIMIT, map_figure, mark, recolor
from srcid.maps.graph import percent
from srcid.maps.points import Points
from srcid.maps.projection import project
from srcid.style import INK, code_color, modality_colors
from tests.house import caption, check_page, check_picture, title

MODALITIES = ("first", "second", "third")


def feature_columns(n=300, layer=1, seed=0):
    """Columns of feature points, as feature_points gives them."""
    draw = np.random.default_rng(seed)
    places = np.arange(n // 3)
    label = np.array(["bark", "horn", "background"])[draw.integers(3, size=n)]
    return {
        "layer": np.full(n, layer),
        "modality": np.repeat(MODALITIES, n // 3),
        "clip": np.tile(places // 5, 3),
        "step": np.tile(places % 5, 3),
        "split": np.where(np.tile(places, 3) < n // 6, "train", "test"),
        "code": draw.integers(0, 9, size=n),
        "agreement": draw.random(n) < 0.3,
        "label": label,
        "event": label,
    }


def feature_map(n=300, layer=1, dimensions=2, seed=0):
    features = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    points = Points(features, feature_columns(n, layer), f"general features of layer {layer}")
    return project(points, "pca", dimensions=dimensions)


@pytest.fixture(scope="module")
def view():
    return feature_map()


def drawn_colors(trace):
    """The colour that each point of a trace is drawn in."""
    scale, place = trace.marker.colorscale, np.asarray(trace.marker.color)
    share = (place - trace.marker.cmin) / (trace.marker.cmax - trace.marker.cmin)
    edges = np.array([edge for edge, _ in scale])
    return np.array([scale[np.searchsorted(edges, value, side="right")][1] for value in share])


def notes(figure, kind):
    return [note.text for note in figure.layout.annotations if note.name.startswith(kind)]


def test_one_trace_a_panel_holds_all_points_with_colours_as_numbers(view):
    figure = map_figure([(view, "modality"), (view, "label")], MODALITIES)
    assert [trace.type for trace in figure.data] == ["scatter", "scatter"]
    np.testing.assert_allclose(np.stack([figure.data[0].x, figure.data[0].y], axis=1), view.coordinates)
    colors = modality_colors(MODALITIES)
    assert drawn_colors(figure.data[0]).tolist() == [colors[m] for m in view.columns["modality"]]
    assert np.asarray(figure.data[0].marker.color).dtype.kind in "iu"


def test_both_axes_have_one_scale(view):
    layout = map_figure([(view, "modality"), (view, "label")], MODALITIES).layout
    for x, y in ((layout.xaxis, layout.yaxis), (layout.xaxis2, layout.yaxis2)):
        assert x.range[1] - x.range[0] == pytest.approx(y.range[1] - y.range[0])
        inner = layout.height - layout.margin.t - layout.margin.b
        wide = (x.domain[1] - x.domain[0]) * (layout.width - layout.margin.l - 24)
        assert wide == pytest.approx((y.domain[1] - y.domain[0]) * inner, rel=0.01)


def test_every_map_stands_beside_its_quality_and_the_caption_says_how_it_was_made(view):
    other = feature_map(layer=2, seed=3)
    figure = map_figure([(view, "modality"), (other, "modality")], MODALITIES)
    for head, found in zip(notes(figure, "head"), (view, other), strict=True):
        q = found.quality
        assert f"trustworthiness {q.trustworthiness:.3f}, neighbours kept {percent(q.preservation)}" in head
        assert f"{100 * q.mixing['map'].value:.1f} ±" in head and f"(chance {100 * q.mixing_chance:.1f} %)" in head
    assert "PCA of 300 points (seed 0, scikit-learn" in caption(figure)
    assert "95 % interval over clips" in caption(figure)
    check_page(figure)
    check_picture(figure)


def test_what_is_said_of_a_narrow_panel_is_broken_between_numbers(view):
    figure = map_figure([(replace(view, title=name), "modality") for name in "abc"], MODALITIES)
    first, *_ = notes(figure, "head")
    q = view.quality
    lines = re.sub("<span.*?</span>", "", first).split("<br>")[1:]
    assert lines[:2] == [f"trustworthiness {q.trustworthiness:.3f},", f"neighbours kept {percent(q.preservation)},"]
    assert lines[2].startswith("of another modality ") and lines[3].startswith("(chance ") and len(lines) == 4
    assert max(map(len, lines)) < 38  # letters that fit a third of the narrowest page


def test_one_map_in_several_colours_says_its_quality_once(view):
    figure = map_figure([(view, c) for c in ("modality", "label", "agreement")], MODALITIES)
    assert [re.sub("<.*?>", "", head) for head in notes(figure, "head")] == ["By modality", "By label", "By agreement"]
    assert len(notes(figure, "quality")) == 1
    assert title(figure) == view.finding
    assert view.finding.startswith("General features of layer 1 (train and test clips): ")


def test_many_points_are_drawn_by_webgl_and_few_are_not():
    n = SVG_LIMIT // 3 * 3
    coordinates = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    small = feature_map()
    large = replace(small, coordinates=coordinates, columns=feature_columns(n))
    kinds = [map_figure([(large, "label")] * count, MODALITIES).data[0].type for count in (1, 2)]
    assert kinds == ["scatter", "scattergl"]


def test_three_dimensions_get_a_scene_each():
    deep = feature_map(dimensions=3)
    figure = map_figure([(deep, "modality"), (deep, "label")], MODALITIES)
    assert [(t.type, t.scene) for t in figure.data] == [("scatter3d", "scene"), ("scatter3d", "scene2")]
    assert figure.layout.scene.domain.x[1] < figure.layout.scene2.domain.x[0]
    mark(figure, [np.array([1])] * 2)  # there is no marking in depth, and no error


def test_a_map_that_is_missing_leaves_its_reason_in_its_panel(view):
    figure = map_figure([(Missing("codebook of layer 1", "it has one code"), "label"), (view, "label")], MODALITIES)
    assert len(figure.data) == 2 and not len(figure.data[0].x) and len(figure.data[1].x) == 300
    assert any("it has one code" in note.text.replace("<br>", " ") for note in figure.layout.annotations)
    alone = map_figure([(Missing("codebook of layer 1", "it has one code"), "label")], MODALITIES)
    assert title(alone) == "Codebook of layer 1 cannot be mapped: it has one code." and not alone.data
    assert "no maps" in title(map_figure([], MODALITIES))


def test_code_vectors_grow_with_their_use():
    uses = np.array([0, 1, 4, 100, 9])
    columns = dict(code=np.arange(5), layer=np.ones(5, int), uses=uses, modality=np.array(["all"] * 5))
    book = project(Points(np.random.default_rng(0).normal(size=(5, 3)), columns, "codebook of layer 1"), "pca")
    sizes = np.asarray(map_figure([(book, "modality")], MODALITIES).data[0].marker.size)
    np.testing.assert_array_equal(np.argsort(sizes), np.argsort(uses))
    assert sizes[0] > 0  # an unused code is seen as well
    np.testing.assert_allclose((sizes[3] - 4) / (sizes[2] - 4), 5, rtol=0.02)  # by the square root


def test_hovering_says_what_a_point_is(view):
    text = map_figure([(view, "label")], MODALITIES).data[0].text
    c = view.columns
    expected = f"{c['modality'][7]}, clip {c['clip'][7]}, step {c['step'][7]}<br>code {c['code'][7]} of layer 1"
    assert text[7] == f"{expected}<br>{c['label'][7]}"


def test_marking_and_unmarking(view):
    figure = map_figure([(view, "label"), (view, "modality")], MODALITIES)
    mark(figure, [np.array([3, 5]), np.array([], int)])
    assert [list(trace.selectedpoints) for trace in figure.data] == [[3, 5], []]
    mark(figure, None)
    assert all(trace.selectedpoints is None for trace in figure.data)


def test_recolouring_is_drawing_anew(view):
    figure = map_figure([(view, "modality"), (view, "modality")], MODALITIES)
    recolor(figure, [(view, "label"), (view, "code")], MODALITIES)
    anew = map_figure([(view, "label"), (view, "code")], MODALITIES)
    for trace, other in zip(figure.data, anew.data, strict=True):
        assert trace.marker.to_plotly_json().keys() == other.marker.to_plotly_json().keys()
        assert drawn_colors(trace).tolist() == drawn_colors(other).tolist()
    assert notes(figure, "key") == notes(anew, "key")


def test_classes_keep_their_colours_and_background_is_grey():
    columns = {"label": np.array(["10", "2", "background", "2", "1"])}
    found = color_by(columns, "label", MODALITIES)
    assert found.names == ("1", "2", "10", "background")
    assert found.palette == (*CATEGORIES[:3], REST)
    assert [found.names[i] for i in found.index] == columns["label"].tolist()


def test_classes_stand_in_the_order_of_the_data():
    columns = {"label": np.array(["two", "one", "background", "three", "one + two"])}
    found = color_by(columns, "label", MODALITIES, ("one", "two", "three", "background"))
    assert found.names == ("one", "two", "three", "one + two", "background")


def test_rare_classes_beyond_ten_share_a_grey():
    values = np.array([f"c{i}" for i in range(14) for _ in range(20 - i)])
    found = color_by({"label": values}, "label", MODALITIES)
    assert found.names == (*(f"c{i}" for i in range(10)), "other")
    assert found.palette[-1] == REST and (found.index[values == "c13"] == 10).all()


def test_ranges_and_numbers_get_shades_in_their_order():
    ranges = color_by({"loud": np.array(["10 to 20", "-1 to 2", "2 to 10"])}, "loud", MODALITIES)
    assert ranges.names == ("-1 to 2", "2 to 10", "10 to 20")
    numbers = color_by({"step": np.arange(10)}, "step", MODALITIES)
    assert numbers.index.tolist() == list(range(10)) and numbers.names[0] == "0" and numbers.names[-1] == "9"
    assert not set(numbers.palette) & set(CATEGORIES)


def test_codes_truth_values_and_what_is_not_known():
    codes = color_by({"code": np.array([4, 17, 4]), "layer": np.array([2, 2, 2])}, "code", MODALITIES)
    assert [codes.palette[i] for i in codes.index] == [code_color(c, 2) for c in (4, 17, 4)]
    same = color_by({"agreement": np.array([True, False])}, "agreement", MODALITIES)
    assert [same.names[i] for i in same.index] == ["same code in all", "codes differ"]
    unknown = color_by({"code": np.arange(3)}, "split", MODALITIES)
    assert unknown.palette == (INK,) and "no split is known" in unknown.key(80)


def test_a_key_is_wrapped_and_cut():
    found = color_by({"label": np.array([f"class {i}" for i in range(10)])}, "label", MODALITIES)
    lines = found.key(30, lines=2).split("<br>")
    assert len(lines) == 2 and lines[-1].endswith("…")
    assert all(len(re.sub("<.*?>", "", line)) <= 34 for line in lines)


def test_only_columns_that_tell_points_apart_are_offered(view):
    offered = colorable({**view.columns, "still": np.zeros(300)})
    assert offered == ("modality", "label", "code", "agreement", "split", "step", "clip")
