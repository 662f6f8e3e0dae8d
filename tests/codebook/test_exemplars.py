"""The code explorer's index: equal to a search by hand, quick, and plain about what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from srcid.codebook.exemplars import CodeIndex
from srcid.symbols import InspectionError


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "fsq"])
@pytest.mark.parametrize("clips", [None, "train"])
def test_cards_equal_a_search_by_hand(tables, quantizer, clips):
    table = tables[quantizer]
    index = CodeIndex(table, clips)
    rows = np.arange(table.clips) if clips is None else table.splits[clips]
    code = int(index.used(1)[0])
    card = index.look_up(1, code, k=5, each=40)  # more than there are clips: all of each fifth
    met = []
    for m in table.modalities:
        here = table.code(1, m) == code
        here[np.setdiff1d(np.arange(table.clips), rows)] = False
        assert card.counts[m] == here.sum()
        np.testing.assert_array_equal(card.steps[m], here.sum(axis=0))
        distance = np.sort(table.distance(1, m)[here])
        edges = [-(-f * len(distance) // 5) for f in range(6)]
        shown = card.exemplars[m]
        assert len({e.clip for e in shown}) == len(shown) and (not len(distance) or shown)
        for e in shown:
            assert here[e.clip, e.step] and e.code == code and e.distance == table.distance(1, m)[e.clip, e.step]
            assert edges[e.fifth - 1] <= np.searchsorted(distance, e.distance, "right")
            assert np.searchsorted(distance, e.distance) < edges[e.fifth]
            assert e.margin == table.margin(1, m)[e.clip, e.step]
            assert e.clip_id == table.ids[e.clip] and e.modality == m
        assert [e.fifth for e in shown] == sorted(e.fifth for e in shown)
        np.testing.assert_array_equal(card.margins[m].sum(), np.isfinite(table.margin(1, m)[here]).sum())
        if len(distance):
            assert shown[0].distance == distance[0]
            assert e.media == (f"digits:{e.clip * 6 + e.step}" if m == "first" else "")
        met.append(table.code(2, m)[here])
    counts = np.bincount(np.concatenate(met))
    assert {c: n for c, n, _, _ in card.together[2]}.items() <= dict(enumerate(counts.tolist())).items()
    assert [n for _, n, _, _ in card.together[2]] == sorted(counts, reverse=True)[: len(card.together[2])]
    assert card.used and card.layer == 1 and card.code == code


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "fsq"])
def test_neighbours_are_the_nearest_code_vectors(tables, quantizer):
    table = tables[quantizer]
    index = CodeIndex(table)
    values, codes = [], []
    for m in table.modalities:
        values.append(table.quantized(1, m)[table.masks[m]])
        codes.append(table.code(1, m)[table.masks[m]])
    values, codes = np.concatenate(values), np.concatenate(codes)
    code = int(codes[0])
    card = index.look_up(1, code, k=100)
    vector = values[codes == code][0]
    for other, gap, count in card.neighbours:
        assert other != code and count == (codes == other).sum()
        if count:
            assert gap == pytest.approx(np.linalg.norm(values[codes == other][0] - vector), abs=1e-4)
    gaps = [gap for _, gap, _ in card.neighbours]
    assert gaps == sorted(gaps) and {o for o, _, n in card.neighbours if n} == set(codes) - {code}


def test_labels_of_a_code_with_share_and_lift(write_table):
    codes = np.zeros((8, 2), int)
    codes[4:] = 1
    kind = np.array([0, 0, 0, 1, 1, 1, 1, -1])
    table = write_table({1: {"a": codes, "b": codes}}, {"kind": kind}, {"kind": ("category", "clip", ["u", "v"])})
    card = CodeIndex(table).look_up(1, 0)
    first, second = card.labels["kind"]
    assert (*first[:2], first.share.value, first.lift) == ("u", 12, 0.75, pytest.approx(0.75 * 7 / 3))
    assert (*second[:2], second.share.value, second.lift) == ("v", 4, 0.25, pytest.approx(0.25 * 7 / 4))
    assert first.usual == pytest.approx(3 / 7)
    # Wilson's interval of 3 of 4: clips count, not their 16 steps
    assert first.share.ends == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))
    assert card.clips == 4 and card.sample == "all 8 clips" and card.symbols == (0,)
    # the interval covers the usual share, so that the code has no name
    assert card.name is None and card.finding == (
        "Layer 1, code 0: in 4 of all 8 clips; no class is certain to be more frequent with it than without"
    )
    assert card.together == {} and [note.partition(":")[0] for note in card.notes] == ["near misses are not shown"]
    assert card.exemplars["b"][0].media.startswith("word:")


def test_lift_of_codes_that_come_together(write_table):
    draw = np.random.default_rng(0)
    first = draw.integers(4, size=(50, 5))
    second = np.where(first == 2, 3, draw.integers(3, size=first.shape))
    card = CodeIndex(write_table({1: {"a": first}, 2: {"a": second}})).look_up(1, 2)
    assert card.together[2] == ((3, (first == 2).sum(), 1.0, pytest.approx((first == 2).sum() / 250)),)


def test_what_is_missing_is_said(tables, write_table):
    codes = np.array([[0, 1, -1], [0, 0, 3]])
    index = CodeIndex(write_table({1: {"a": codes}}, distances=False))
    card = index.look_up(1, 0)
    assert any("no labels" in note for note in card.notes) and any("no distances" in note for note in card.notes)
    assert [(e.clip, e.step) for e in card.exemplars["a"]] == [(0, 0), (1, 0)]
    assert card.near_misses == {} and any("near misses are not shown" in note for note in card.notes)
    unused = index.look_up(1, 2)
    assert not unused.used and "never used" in unused.notes[-1] and unused.exemplars["a"] == ()
    assert unused.labels == {} and len(unused.neighbours) == 3
    assert list(index.used(1)) == [0, 1, 3]
    with pytest.raises(InspectionError, match="codes 0 to 3 in layer 1, not a code 4"):
        index.look_up(1, 4)
    with pytest.raises(InspectionError, match=r"found 1 layer\(s\)"):
        index.look_up(2, 0)
    with pytest.raises(InspectionError, match="has no codes"):
        CodeIndex(tables["identity"])


@pytest.mark.parametrize("quantizer", ["vq", "fsq"])
def test_near_misses_are_the_steps_whose_second_nearest_code_it_is(tables, quantizer):
    table = tables[quantizer]
    index = CodeIndex(table)
    combination = {}
    for m in table.modalities:
        for code, symbols in zip(table.code(1, m).ravel(), table.codes(1, m).reshape(-1, table.stages), strict=True):
            combination[int(code)] = tuple(symbols)
    seen = 0
    for code in index.used(1)[:6]:
        card = index.look_up(1, int(code), k=5)
        wanted = np.ravel_multi_index(combination[int(code)], table.sizes)
        for m in table.modalities:
            here = table.second(1, m) == wanted
            margins = np.where(here, table.margin(1, m), np.inf).min(axis=1)
            expected = np.sort(margins[np.isfinite(margins)])[:5]
            assert [e.margin for e in card.near_misses[m]] == pytest.approx(expected.tolist())
            for e in card.near_misses[m]:
                assert here[e.clip, e.step] and e.fifth == 0 and e.code == table.code(1, m)[e.clip, e.step] != code
                assert e.distance == table.nearest(1, m)[e.clip, e.step, 1]
            seen += len(card.near_misses[m])
    assert seen > 10


def test_names_are_withheld_from_noise_and_given_to_what_is_planted(write_table):
    draw = np.random.default_rng(0)
    kind, codes = draw.integers(8, size=400), draw.integers(40, size=(400, 4))
    codes[np.flatnonzero(kind == 3)[:25], 1] = 40
    table = write_table({1: {"a": codes}}, {"kind": kind}, {"kind": ("category", "clip", list("pqrstuvw"))})
    index = CodeIndex(table)
    assert index.look_up(1, 40).name[1].name == "s"
    assert sum(index.look_up(1, code).name is not None for code in range(40)) <= 4


# -- search


@pytest.fixture
def searched(write_table):
    """Code 1 marks class "dog" purely, code 2 covers it better; "dove" goes with code 0."""
    codes = np.array([[0, 0, 1, 2, 2, 2], [0, 0, 0, 2, 2, 3]])
    event = np.zeros((2, 6, 2), bool)
    event[0, 2:5, 0] = event[1, 3:5, 0] = event[1, 0, 1] = True
    kinds = {"event": ("multilabel", "step", ["dog", "dove"]), "room": ("category", "clip", ["hall", "dog"])}
    table = write_table({1: {"a": codes, "b": codes}}, {"event": event, "room": np.array([0, -1])}, kinds)
    return CodeIndex(table)


def test_a_search_for_a_class_ranks_codes_by_purity_and_coverage(searched):
    matches = searched.search(1, "Dog")
    assert [m.code for m in matches] == [2, 1] and {(m.label, m.name) for m in matches} == {("event", "dog")}
    best, rare = matches
    assert (best.count, best.purity, best.coverage) == (8, pytest.approx(0.8), pytest.approx(0.8))
    assert (rare.count, rare.purity, rare.coverage) == (2, 1.0, pytest.approx(0.2))
    assert [m.code for m in searched.search(1, "dog", k=1)] == [2]


def test_names_may_be_cut_short_or_carry_their_label(searched):
    assert searched.search(1, "dov")[0].name == "dove"
    assert searched.search(1, "  room:  HALL ")[0].label == "room"
    assert searched.search(1, "background")[0].code == 0
    with pytest.raises(InspectionError, match="no code of layer 1 goes with room: dog"):
        searched.search(1, "room: dog")


def test_a_number_is_a_code(searched):
    assert searched.search(1, " 3 ")[0][:2] == (3, 2)
    for wrong in ("4", "-1"):
        with pytest.raises(InspectionError, match=f"codes 0 to 3 in layer 1, not a code {wrong}"):
            searched.search(1, wrong)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("dug", "did you mean 'dog'"), ("", "one of dog, dove"), ("?", "0 to 3"), ("--3", "found no class '--3'")],
)
def test_what_is_not_found_gets_a_suggestion(searched, text, answer):
    with pytest.raises(InspectionError, match=answer):
        searched.search(1, text)


def test_exemplars_say_what_happens_at_their_step(searched):
    card = searched.look_up(1, 2)
    assert {(e.clip, e.step): e.label for e in card.exemplars["a"]}.items() <= {
        (0, 3): "dog", (0, 4): "dog", (0, 5): "background", (1, 3): "dog", (1, 4): "dog"
    }.items()  # fmt: skip
    assert len(card.exemplars["a"]) == 2


def test_codes_of_several_symbols_are_spelt_out(tables):
    index = CodeIndex(tables["rvq"])
    code = int(tables["rvq"].code(1, "first")[2, 3])
    card = index.look_up(1, code)
    assert card.symbols == tuple(tables["rvq"].codes(1, "first")[2, 3])
    assert f"code {code} = ({card.symbols[0]}, {card.symbols[1]}):" in card.finding
