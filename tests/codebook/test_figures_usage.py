"""Figures of use, agreement and meaning: they show the numbers they were given, or say why there are none."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from srcid.codebook.added_information import added_information
from srcid.codebook.agreement import code_agreement, confusion
from srcid.codebook.figures.agreement import agreement_figure, confusion_map, part_figure
from srcid.codebook.figures.meaning import added_information_figure, association_map, code_map, mark_code
from srcid.codebook.figures.usage import sharing_map, usage_summary
from srcid.codebook.meaning import association
from srcid.codebook.usage import code_usage, sharing
from srcid.codes import CodeTable
from srcid.symbols import StepLabel, for_each, label_names, layers_and_stages
from tests.house import caption, title

MODALITIES = ("first", "second", "third")


@pytest.fixture(scope="module")
def tables(code_tables) -> dict[str, CodeTable]:
    """The tables of all quantisers, and the first of them without labels."""
    bare = code_tables["vq"]
    return code_tables | {"bare": CodeTable(bare.path, bare.manifest | {"labels": {}})}


def everything(table):
    """All figures of the codebook's notebook, by name."""
    layers = [dict(layer=k) for k in range(1, table.layers + 1)]
    pairs = [dict(first="first", second="second", **where) for where in layers]
    labels = [dict(label=name) for name in label_names(table)]
    agreed = for_each(code_agreement, table, layers)
    shared, meant = for_each(sharing, table, layers[:1]), for_each(association, table, [dict(label=None)])

    def drawn(draw, found):
        return draw(found.results, table.modalities, found.notes)

    return {
        "summary": usage_summary(*for_each(code_usage, table, layers_and_stages(table))),
        "sharing": sharing_map(*for_each(sharing, table, layers)),
        "agreement": drawn(agreement_figure, agreed),
        "confusion": drawn(confusion_map, for_each(confusion, table, pairs)),
        "meaning": drawn(association_map, for_each(association, table, [dict(label=None, **w) for w in layers])),
        "added_information": drawn(added_information_figure, for_each(added_information, table, labels)),
        "glance": code_map(
            *(found.results[0] if found.results else None for found in (shared, meant)),
            table.modalities,
            shared.notes + meant.notes,
        ),
    }


def grid(trace):
    return np.array(trace.z, dtype=float)


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "fsq"])
def test_every_quantiser_with_codes_has_every_figure(tables, quantizer):
    for name, fig in everything(tables[quantizer]).items():
        assert fig.data and len(caption(fig)) > 20, name
        assert fig.layout.title.text[0].isupper() and fig.layout.width == 960, name
        json.loads(fig.to_json())
        assert all(axis.title.text for axis in list(fig.select_xaxes())[-1:]), name


def test_the_identity_quantiser_has_a_sentence_in_place_of_each_figure(tables):
    figures = everything(tables["identity"])
    assert len(figures) == 7
    for name, fig in figures.items():
        assert not fig.data and "no codes (identity quantiser" in fig.layout.title.text, name


def test_without_labels_what_needs_none_is_drawn(tables):
    figures = everything(tables["bare"])
    assert {name for name, fig in figures.items() if not fig.data} == {"meaning", "added_information"}
    assert "this table has no labels" in figures["meaning"].layout.title.text
    assert "no label" in figures["added_information"].layout.title.text
    assert "no label 'event', so event and background steps cannot be told apart" in caption(figures["agreement"])
    assert "no labels" in caption(figures["glance"])
    assert {trace.name for trace in figures["agreement"].data} == {"all steps", "by chance"}


def test_one_modality_and_one_code_are_no_obstacle():
    draw = np.random.default_rng(0)
    alone, constant = {"only": draw.integers(5, size=(9, 4))}, {m: np.zeros((9, 4), int) for m in MODALITIES[:2]}
    label = StepLabel.of(draw.integers(3, size=9), "kind", steps=4)
    for codes in (alone, constant):
        usage, meant = for_each(code_usage, codes, [{}]), for_each(association, codes, [dict(label=label)])
        assert usage_summary(*usage).data
        assert association_map(meant.results, tuple(codes)).data
        shared = for_each(sharing, codes, [{}])
        both = code_map(shared.results[0] if shared.results else None, meant.results[0], tuple(codes))
        assert both.layout.meta["codes"]
    for draw_it, compute in ((sharing_map, sharing), (agreement_figure, code_agreement)):
        found = for_each(compute, alone, [{}])
        assert "one modality only" in draw_it(found.results, notes=found.notes).layout.title.text
    assert sharing_map([sharing(constant)]).data
    pair = code_agreement(constant)
    assert pair.pairs[0].ami.value == 1 and agreement_figure([pair]).data
    assert grid(confusion_map([confusion(constant, "first", "second")]).data[0]).tolist() == [[1.0]]


def test_perplexity_stands_with_its_interval_beside_the_shares_of_codes():
    draw = np.random.default_rng(0)
    found = code_usage({"a": draw.integers(8, size=(30, 5)), "b": draw.integers(2, 16, size=(30, 5))})
    fig = usage_summary([found])
    dots = {trace.name: trace for trace in fig.data if trace.type == "scatter" and trace.error_x.array is not None}
    assert list(dots) == ["a", "b", "joint"]
    for name in found.names:
        dot = dots[name]
        assert dot.x[0] == pytest.approx(found.perplexity[name].value)
        assert dot.x[0] + dot.error_x.array[0] == pytest.approx(max(found.perplexity[name].high, dot.x[0]))
    bars = [trace.x[0] for trace in fig.data if trace.type == "bar"]
    np.testing.assert_allclose(np.reshape(bars, (3, 3)).sum(axis=1), 1)
    assert fig.layout.title.text == found.finding.capitalize()


def test_sharing_says_what_share_of_codes_belongs_to_one_modality():
    fig = sharing_map([sharing({"a": np.array([[0, 0, 1, 1]]), "b": np.array([[0, 0, 1, 3]])})])
    assert "1 of 3 used codes belong to one modality alone (33%; by chance 68%), 2 to all" in fig.layout.title.text
    assert "a 0.0%, b 25.0%" in caption(fig)  # one clip has no interval


def test_agreement_shows_each_pair_at_events_and_background_beside_chance():
    draw = np.random.default_rng(0)
    codes = {m: draw.integers(4, size=(30, 6)) for m in MODALITIES}
    found = code_agreement(codes, foreground=draw.random((30, 6)) < 0.5)
    fig = agreement_figure([found])
    shown = {trace.name: trace for trace in fig.data if trace.showlegend}
    assert set(shown) == {"all steps", "event steps", "background steps", "by chance"}
    wanted = [pair.match.value for pair in found.pairs if pair.where == "event"]
    np.testing.assert_allclose(shown["event steps"].x, wanted)
    np.testing.assert_allclose(shown["by chance"].x, [pair.chance for pair in found.pairs])


def test_parts_of_codes_stand_in_the_row_of_their_method():
    kappas = {("dcid rvq2", 1, 1): (0.4, 0.6), ("dcid rvq2", 1, 2): (0.0, 0.1), ("srcid vq", 2, 1): (0.2, 0.3)}
    rows = [
        dict(method=method, layer=layer, stage=stage, where=where, match=k, chance=0.1, kappa=k)
        for (method, layer, stage), both in kappas.items()
        for k in both
        for where in ("all", "event", "background")
    ]
    fig = part_figure(pd.DataFrame(rows), "Two seeds.")
    drawn = [trace for trace in fig.data if trace.text]
    assert len(drawn) == 2 * len(kappas)
    assert [trace.x[0] for trace in drawn[::2]] == pytest.approx([0.5, 0.05, 0.25])
    first, second, other = (trace.y[0] for trace in drawn[::2])
    assert round(first) == round(second) == 1 and round(other) == 0 and first > second
    assert "layer 1 0.50, its later stages 0.05, later layers 0.25" in title(fig)
    assert "Two seeds." in caption(fig) and "nothing to agree" in str(part_figure(pd.DataFrame()).layout)


def test_confusion_rows_add_up_and_are_cut_to_the_codes_used_most():
    draw = np.random.default_rng(0)
    found = confusion({m: draw.integers(20, size=(40, 6)) for m in "ab"}, "a", "b")
    whole, part = confusion_map([found]), confusion_map([found], most=7)
    np.testing.assert_allclose(np.nansum(grid(whole.data[0]) ** 2, axis=1), 1)
    np.testing.assert_allclose(grid(part.data[0]), grid(whole.data[0])[:7, :7])
    assert grid(part.data[0]).shape == (7, 7) and "The 7 codes used most; they hold" in caption(part)
    assert "hold 100% of the steps" in caption(whole)
    assert f"a – b {found.match.value:.1%}" in part.layout.title.text


def test_the_map_of_meaning_shows_shares_and_dots_where_they_are_sure():
    kind = np.arange(60) % 3
    codes = np.where(np.arange(4) < 2, kind[:, None], 3 + np.arange(60)[:, None] % 2)
    found = association({"a": codes}, StepLabel.of(kind, "kind", classes="uvw", steps=4), modality="a")
    fig = association_map([found], ("a",))
    heat = next(trace for trace in fig.data if trace.type == "heatmap")
    assert np.nansum(grid(heat), axis=0) == pytest.approx(1)
    dots = next(trace for trace in fig.data if trace.type == "scatter" and trace.marker.size == 3)
    assert sorted(dots.y) == [1, 2, 3]
    assert {grid(heat)[y - 1, x - 1] for x, y in zip(dots.x, dots.y, strict=True)} == {1.0}
    assert "67% [54%, 77%] on average (one code for all: 33%)" in fig.layout.title.text.replace("<br>", " ")


def test_what_a_layer_adds_is_filled_only_where_it_is_sure():
    draw = np.random.default_rng(0)
    kind = draw.integers(3, size=150)
    told, noise = (np.repeat(v[:, None], 4, axis=1) for v in (kind, draw.integers(3, size=150)))
    label = StepLabel.of(kind, "kind", steps=4)
    sure, unsure = (added_information({1: {"a": noise}, 2: {"a": late}}, label, modality="a") for late in (told, noise))
    for found, symbol in ((sure, "circle"), (unsure, "circle-open")):
        dots = next(
            trace for trace in added_information_figure([found], ("a",)).data if trace.error_x.array is not None
        )
        assert dots.marker.symbol == (symbol,) and dots.x[0] == pytest.approx(found.information.value)


def test_a_code_is_marked_where_it_stands_and_unmarked_when_it_is_not_there():
    fig = code_map(sharing({"a": np.array([[0, 0, 5, 5]]), "b": np.array([[0, 5, 7, 7]])}), None)
    assert set(fig.layout.meta["codes"]) == {0, 5, 7}
    lines = len(fig.layout.shapes)
    mark_code(fig, 7)
    mark_code(fig, 5)
    mark = fig.layout.shapes[-1]
    assert len(fig.layout.shapes) == lines + 1
    assert (mark.x0 + mark.x1) / 2 == 1 + fig.layout.meta["codes"].index(5)
    mark_code(fig, 99)
    assert len(fig.layout.shapes) == lines
