"""Use of codes, sharing and agreement: right numbers, honest intervals, clear refusals, and speed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, cohen_kappa_score, normalized_mutual_info_score
from sklearn.metrics.cluster import expected_mutual_information

from srcid.codebook.agreement import code_agreement, confusion, part_agreement
from srcid.codebook.exemplars import CodeIndex
from srcid.codebook.meaning import association
from srcid.codebook.usage import code_usage, sharing
from srcid.codes import CodeTable
from srcid.statistics import Interval, expected_information
from srcid.symbols import InspectionError, StepLabel, for_each, label_names, label_of, layers_and_stages, symbols_of


def sticky(draw, clips, steps, weights):
    """Codes that stay the same throughout a clip."""
    return np.repeat(draw.choice(len(weights), (clips, 1), p=weights), steps, axis=1)


def test_perplexity_of_even_use_is_the_number_of_codes():
    found = code_usage({"a": np.arange(8).reshape(2, 4), "b": np.zeros((2, 4), int)})
    np.testing.assert_allclose([found.perplexity[m].value for m in "ab"], [8, 1])
    np.testing.assert_allclose(found.frame()["bits"][:2], [3, 0], atol=1e-12)
    assert found.names == ("a", "b", "joint")
    assert list(found.used) == [8, 1, 8] and list(found.frame()["dead"]) == [0, 7, 0]


def test_padded_steps_are_not_counted_and_rare_codes_are():
    codes = np.zeros((10, 10), int)
    codes[0, 0], codes[1, :5] = 3, -1
    found = code_usage({"a": codes})
    np.testing.assert_array_equal(found.counts[0], [94, 0, 0, 1])
    assert found.rare[0] == 1 and found.frame()["dead"][0] == 2
    assert list(found.frame()["modality"]) == ["a", "joint"]
    assert found.finding.startswith("layer 1 (10 clips): perplexity 1 [1, 1] of 4 codes")


@pytest.mark.parametrize("shape", [(60, 5), (250, 4)])
def test_interval_covers_the_truth_about_as_often_as_it_says(shape):
    draw = np.random.default_rng(0)
    weights = draw.dirichlet(np.ones(12))
    truth = np.exp(-(weights * np.log(weights)).sum())
    hits = 0
    for seed in range(60):
        found = code_usage({"a": sticky(draw, *shape, weights)}, seed=seed)
        hits += found.perplexity["a"].low <= truth <= found.perplexity["a"].high
    assert hits >= 51  # 57 expected; 51 is two standard deviations and some bias below


def test_interval_counts_clips_not_steps():
    draw = np.random.default_rng(1)
    loose, fixed = draw.integers(10, size=(50, 20)), sticky(draw, 50, 20, np.full(10, 0.1))
    found = [code_usage({"a": codes}).perplexity["a"] for codes in (loose, fixed)]
    widths = [interval.high - interval.low for interval in found]
    assert widths[1] > 3 * widths[0]


def test_one_clip_has_no_interval():
    found = code_usage({"a": np.arange(4)[None]})
    assert not found.perplexity["a"].known and found.perplexity["a"].value == pytest.approx(4)


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "fsq"])
@pytest.mark.parametrize("layer", [1, 2])
def test_table_is_read_as_it_is(tables, quantizer, layer):
    table = tables[quantizer]
    found = code_usage(table, layer, clips="val")
    for row, m in enumerate(table.modalities):
        code = table.code(layer, m)[table.splits["val"]]
        expected = Counter(code[table.masks[m][table.splits["val"]]].tolist())
        assert {c: n for c, n in enumerate(found.counts[row]) if n} == expected
    assert found.size == table.symbols(layer)
    stages = [code_usage(table, layer, stage) for stage in range(1, table.stages + 1)]
    assert [s.size for s in stages] == list(table.sizes)
    together = code_usage(table, layer).perplexity["joint"].value
    assert all(s.perplexity["joint"].value <= together + 1e-9 for s in stages)
    assert found.sample == "8 val clips" and stages[0].sample == "all 40 clips"


def test_codes_come_in_order_of_how_shared_they_are():
    first = np.array([[0, 0, 1, 1], [2, 2, 0, 0]])
    second = np.array([[0, 0, 1, 3], [3, 3, 0, 0]])
    found = sharing({"a": first, "b": second})
    assert list(found.codes[:2]) == [0, 1] and set(found.codes[2:]) == {2, 3}
    assert found.sharedness[0] == pytest.approx(1) and found.sharedness[-1] == pytest.approx(0)
    np.testing.assert_allclose(found.share.sum(axis=1), 1)
    assert found.exclusive == {"a": 1, "b": 1} and list(found.users) == [2, 2, 1, 1]
    assert {m: mass.value for m, mass in found.mass.items()} == {"a": 0.25, "b": 0.375}


def test_codes_that_occur_once_are_exclusive_by_chance():
    draw = np.random.default_rng(0)
    codes = {m: draw.zipf(1.4, (80, 6)) % 500 for m in "abc"}
    found = sharing(codes)
    assert found.gap > 0.3 and found.chance == pytest.approx(found.gap, abs=0.05)
    apart = sharing({m: values + 500 * i for i, (m, values) in enumerate(codes.items())})
    assert apart.gap == 1 and apart.chance < 0.8


def test_the_share_of_steps_on_exclusive_codes_has_an_interval_over_clips():
    draw = np.random.default_rng(0)
    own = np.repeat(draw.random((200, 1)) < 0.3, 5, axis=1)  # whole clips on a code of their own
    found = sharing({"a": np.where(own, 1, 0), "b": np.zeros((200, 5), int)})
    mass = found.mass["a"]
    assert mass.low < mass.value == own.mean() < mass.high
    assert mass.high - mass.low == pytest.approx(3.92 * np.sqrt(0.21 / 200), rel=0.25)
    none = found.mass["b"]  # none of 200 clips: which is not none at all (Wilson)
    assert (none.value, none.low) == (0, 0) and none.high == pytest.approx(3.84 / 203.84, rel=1e-3)
    assert list(found.frame()["exclusive"]) == [1, 0] and found.gap == 0.5


def test_intervals_of_agreement_cover_the_truth_and_count_clips():
    def codes(clips, draw):
        a = sticky(draw, clips, 5, np.full(4, 0.25))
        return {"a": a, "b": np.where(draw.random((clips, 1)) < 0.6, a, sticky(draw, clips, 5, np.full(4, 0.25)))}

    draw = np.random.default_rng(0)
    truth = code_agreement(codes(100_000, draw), bootstrap=0).pairs[0]
    assert not truth.ami.known and not truth.distance.known
    found = [code_agreement(codes(300, draw), seed=seed).pairs[0] for seed in range(40)]
    for name, least in (("match", 34), ("ami", 34)):
        hits = sum(not getattr(p, name).excludes(getattr(truth, name).value) for p in found)
        assert hits >= least, (name, hits)
    assert all(not p.nmi.excludes(p.nmi.value) and 0 <= p.distance.low <= p.distance.high <= 1 for p in found)


def test_for_each_keeps_what_can_be_computed_and_tells_the_rest_once(tables):
    found = for_each(code_usage, tables["vq"], [dict(layer=layer) for layer in (1, 3, 2, 3)])
    assert [result.layer for result in found.results] == [1, 2]
    assert found.notes == ("found 2 layer(s) in this table, not a layer 3",)
    assert [tuple(place.values()) for place in layers_and_stages(tables["vq"])] == [(1, None), (2, None)]
    assert [tuple(place.values()) for place in layers_and_stages(tables["rvq"])][:4] == [
        (1, None),
        (1, 1),
        (1, 2),
        (2, None),
    ]


@pytest.mark.parametrize(("n", "rows", "columns"), [(7, 1, 3), (20, 20, 20), (50, 3, 4), (3000, 60, 60), (9000, 2, 90)])
def test_chance_of_mutual_information_equals_scikit_learn(n, rows, columns):
    draw = np.random.default_rng(n)
    a = draw.choice(rows, n, p=draw.dirichlet(np.full(rows, 0.7)))
    b = draw.choice(columns, n, p=draw.dirichlet(np.full(columns, 0.7)))
    table = np.zeros((rows, columns), np.int64)
    np.add.at(table, (a, b), 1)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    expected = expected_mutual_information(table, n)
    assert expected_information(table.sum(axis=1), table.sum(axis=0)) == pytest.approx(expected, abs=1e-7)


def test_agreement_equals_scikit_learn_and_plain_counting(tables):
    table = tables["vq"]
    event = table.labels["event"].any(axis=-1)
    found = code_agreement(table, layer=1)
    assert len(found.pairs) == 9 and not found.notes
    for pair in found.pairs:
        a, b = table.code(1, pair.first), table.code(1, pair.second)
        place = {"all": np.ones_like(event), "event": event, "background": ~event}[pair.where]
        valid = (a >= 0) & (b >= 0) & place
        a, b = a[valid], b[valid]
        assert pair.steps == valid.sum()
        assert pair.match.value == pytest.approx((a == b).mean())
        assert pair.chance == pytest.approx(sum((a == c).mean() * (b == c).mean() for c in range(12)))
        assert pair.nmi.value == pytest.approx(normalized_mutual_info_score(a, b), abs=1e-9)
        assert pair.ami.value == pytest.approx(adjusted_mutual_info_score(a, b), abs=1e-6)
        assert not pair.match.excludes(pair.match.value)
    steps = found.frame().pivot_table(index=["first", "second"], columns="where", values="steps")
    assert (steps["event"] + steps["background"] == steps["all"]).all()


def test_parts_of_a_code_are_compared_by_themselves(tables):
    table = tables["rvq"]
    found = part_agreement(table, "train")
    assert {(part["layer"], part["stage"]) for part in found} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert [part["where"] for part in found[:3]] == ["all", "event", "background"]
    rows = table.splits["train"]
    for part in (part for part in found if part["where"] == "all"):
        kappas = []
        for first, second in combinations(table.modalities, 2):
            a, b = (table.codes(part["layer"], m)[rows][..., part["stage"] - 1].ravel() for m in (first, second))
            kappas.append(cohen_kappa_score(a[(a >= 0) & (b >= 0)], b[(a >= 0) & (b >= 0)]))
        assert part["kappa"] == pytest.approx(np.mean(kappas))
    assert {part["stage"] for part in part_agreement(tables["fsq"])} == {1}  # its dimensions are one code
    assert part_agreement(tables["identity"]) == []


def test_independent_codes_are_at_chance_and_renamed_codes_agree_but_do_not_match():
    draw = np.random.default_rng(0)
    codes, other = draw.integers(20, size=(2, 300, 10))
    strange = code_agreement({"a": codes, "b": other}).pairs[0]
    assert abs(strange.ami.value) < 0.01 and not strange.match.excludes(strange.chance)
    assert strange.nmi.value == pytest.approx(strange.nmi_chance, abs=0.01)
    renamed = code_agreement({"a": codes, "b": codes + 20}).pairs[0]
    assert (renamed.match.value, renamed.distance.value) == (0, 1)
    assert renamed.ami.value == pytest.approx(1) and renamed.nmi.value == pytest.approx(1)
    same = code_agreement({"a": codes, "b": codes}).pairs[0]
    assert (same.match.value, same.match.high, same.distance.value) == (1, 1, 0)
    assert same.match.low == pytest.approx(300 / 303.84, rel=1e-3)  # all of 300 clips: Wilson


def test_confusion_names_the_codes_that_are_taken_for_each_other():
    first = np.array([[0, 0, 0, 0, 5, 5]])
    second = np.array([[0, 7, 7, 7, 5, -1]])
    found = confusion({"a": first, "b": second}, "a", "b")
    assert found.counts.sum() == 5 and set(found.codes) == {0, 5, 7}
    counts = found.frame()
    assert counts.loc[0, 7] == 3 and counts.loc[0, 0] == counts.loc[5, 5] == 1
    assert found.match.value == 2 / 5 and "a – b 40.0%" in found.finding


def test_a_share_lies_within_the_interval_that_is_printed_with_it():
    found = confusion({"a": np.array([[0, 1]]), "b": np.array([[0, 2]])}, "a", "b")
    small = replace(found, match=Interval(0.002, 0.0012, 0.0041))
    assert "0.2% [0.1, 0.4]" in small.finding
    assert "57.1% [55, 59]" in replace(found, match=Interval(0.5714, 0.5491, 0.5932)).finding


def test_refusals_are_sentences(tables):
    codes = np.zeros((3, 2), int)
    cases = [
        ("one modality only", lambda: code_agreement({"a": codes})),
        ("one modality only", lambda: sharing({"a": codes})),
        ("has no codes", lambda: code_usage(tables["identity"])),
        ("has no codes", lambda: code_usage({"a": codes - 1})),
        (r"found 2 layer\(s\)", lambda: code_usage(tables["vq"], layer=3)),
        (r"found 1 stage\(s\)", lambda: code_usage(tables["vq"], stage=2)),
        ("found no split 'best', only train", lambda: code_usage(tables["vq"], clips="best")),
        ("one shape", lambda: code_usage({"a": codes, "b": codes[:2]})),
        ("found no modality 'z'", lambda: confusion({"a": codes, "b": codes}, "a", "z")),
    ]
    for words, call in cases:
        with pytest.raises(InspectionError, match=words):
            call()


def test_without_events_agreement_is_still_shown(write_table):
    codes = np.random.default_rng(0).integers(4, size=(20, 3))
    table = write_table({1: {"a": codes, "b": codes}})
    found = code_agreement(table)
    assert [pair.where for pair in found.pairs] == ["all"] and "no label 'event'" in found.notes[0]
    given = code_agreement(table, foreground=codes > 9)
    assert {pair.where for pair in given.pairs} == {"all", "background"}
    assert "share no event step" in given.notes[0]


def test_modalities_that_never_meet_are_said_to():
    early = np.array([[0, 1, -1, -1], [1, 0, -1, -1], [0, 0, -1, -1]])
    found = code_agreement({"a": early, "b": early[:, ::-1]})
    assert found.finding == "layer 1 (3 clips): no two modalities share a step"
    assert "a and b share no step, so nothing is shown for it" in found.notes
    with pytest.raises(InspectionError, match="a and b share no step"):
        confusion({"a": early, "b": early[:, ::-1]}, "a", "b")


def test_labels_are_read_step_by_step(tables):
    table = tables["vq"]
    assert label_names(table) == ("event", "speaker", "loudness")
    event = label_of(table)
    assert event.classes == ("bark", "horn", "rain", "background")
    assert event.names[event.symbols[0, 2]].count("+") >= 1
    members = event.members().toarray().reshape(*event.symbols.shape, 4)
    np.testing.assert_array_equal(members[..., :3], table.labels["event"])
    np.testing.assert_array_equal(members[..., 3], ~table.labels["event"].any(axis=-1))
    speaker = label_of(table, "speaker", clips="val")
    np.testing.assert_array_equal(speaker.symbols[:, 0], table.labels["speaker"][table.splits["val"]])
    assert (speaker.symbols == speaker.symbols[:, :1]).all()
    loudness = label_of(table, "loudness", bins=4)
    assert loudness.symbols.shape == (40, 6) and np.ptp(np.bincount(loudness.symbols.ravel())) <= 1
    assert "4 bins" in loudness.note
    with pytest.raises(InspectionError, match="has the labels event, speaker, loudness"):
        label_of(table, "mood")


def test_many_classes_at_once_keep_their_combinations():
    values = np.random.default_rng(0).random((30, 4, 70)) < 0.03
    label = StepLabel.of(values)
    np.testing.assert_array_equal(label.members().toarray()[:, :-1], values.reshape(-1, 70))


def test_imports_are_cheap():
    code = (
        "import sys, srcid.codebook, srcid.maps;"
        "heavy = {'torch', 'plotly', 'umap', 'sklearn', 'pandas', 'scipy', 'openTSNE'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_codes_of_one_step_of_one_clip_have_symbols():
    assert symbols_of({"a": np.zeros((1, 1), int)}).modalities == ("a",)


def test_large_tables_are_resampled_in_groups_of_clips_with_the_same_spread():
    draw = np.random.default_rng(0)
    own = np.repeat(draw.random((6000, 1)) < 0.3, 4, axis=1)
    mass = sharing({"a": np.where(own, 1, 0), "b": np.zeros((6000, 4), int)}).mass["a"]
    assert mass.high - mass.low == pytest.approx(3.92 * np.sqrt(0.21 / 6000), rel=0.25)


def test_meetings_of_a_large_alphabet_are_those_of_a_small_one(monkeypatch):
    draw = np.random.default_rng(0)
    codes = {m: draw.integers(9, size=(50, 4)) for m in "ab"}
    dense = code_agreement(codes)
    monkeypatch.setattr("srcid.codebook.agreement._DENSE", 0)
    assert code_agreement(codes) == dense


def test_steps_whose_label_is_unknown_are_neither_event_nor_background(write_table):
    draw = np.random.default_rng(0)
    codes = {m: draw.integers(4, size=(20, 3)) for m in "ab"}
    event, known = draw.random((20, 3, 2)) < 0.3, draw.random(20) < 0.5
    table = write_table({1: codes}, {"event": event}, {"event": ("multilabel", "step", ["x", "y"])})
    everywhere = label_of(table, "event")
    np.save(table.path / "labelled_event.npy", np.repeat(known[:, None], 3, axis=1))
    table = CodeTable(table.path, table.manifest | {"labelled": ["event"]})
    label = label_of(table, "event")
    np.testing.assert_array_equal(label.symbols[known], everywhere.symbols[known])
    assert (label.symbols[~known] == -1).all()
    assert label.members().toarray().reshape(20, 3, 3)[~known].sum() == 0
    steps = {pair.where: pair.steps for pair in code_agreement(table).pairs}
    assert steps["event"] + steps["background"] == 3 * known.sum() < steps["all"] == 60
    assert association(table, "event").total.sum() == 2 * 3 * known.sum()
    card = CodeIndex(table).look_up(1, 0)
    here = (codes["a"] == 0)[known].sum() + (codes["b"] == 0)[known].sum()
    assert sum(found.count for found in card.labels["event"] if found.name == "background") <= here
    assert sum(e.label == "" for e in card.exemplars["a"]) > 0


def test_agreement_of_an_alphabet_of_which_no_table_of_pairs_fits_in_memory():
    draw = np.random.default_rng(0)
    few = draw.integers(0, 5, (2, 40, 10))
    many = few * 200_000  # fsq on features has as many combinations as steps
    small, large = (code_agreement({"a": a, "b": b}) for a, b in (few, many))
    assert [p.match for p in large.pairs] == [p.match for p in small.pairs]
    assert [p.chance for p in large.pairs] == pytest.approx([p.chance for p in small.pairs])
