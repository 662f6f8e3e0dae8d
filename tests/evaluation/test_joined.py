"""Data sets of one model read as one: what is learned on one is asked of another, and nothing leaks."""

from dataclasses import replace

import numpy as np
import pytest

from srcid.evaluation.joined import JoinedCodes, Part, cross_dataset, never_paired, one_then_more, unpaired
from srcid.evaluation.metrics import EvaluationError, micro_scores, with_background
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.suite import fit_tasks, task_tables
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table

QUICK = EvaluationParams(probe_seeds=2, probe_epochs=40, probe_lr=1e-2, probe_batch=40)


def pair(**changes):
    """Two data sets encoded by one model: the second has the classes in another order, and other names for some."""
    first = make_table(clips=200, classes=4, seed=0)
    second = make_table(clips=160, classes=4, seed=1, **changes)
    second.books = first.books
    order = [2, 0, 3, 1]
    second.events = second.events[..., order]
    second.labels = {"event": second.events}
    first.label_info["event"].classes = ("dog", "church bell", "rain", "horn")
    second.label_info["event"].classes = ("Rain", "Dog", "alarm", "Church_bell")
    return first, second


def test_a_probe_is_carried_to_another_data_set_by_the_names_of_classes():
    first, second = pair()
    joined = cross_dataset(first, second)
    assert joined.label_info["event"].classes == ("dog", "church bell", "rain")
    results = fit_probes(joined, QUICK, ("cross-dataset",), ("only1",))
    assert min(s.score for s in results.scores) > 95
    # scored are test clips of the second data set only, and by F1
    asked = second.splits["test"][second.events[second.splits["test"]][..., [1, 3, 0]].any((1, 2))]
    for s in results.scores:
        assert s.metric == "f1" and len(s.rows) == len(asked)
        np.testing.assert_array_equal(joined.labels["event"][s.rows], second.events[np.sort(asked)][..., [1, 3, 0]])
        if s.prediction is not None:
            again = micro_scores(s.prediction, with_background(joined.labels["event"][s.rows]))
            assert again.f1 == pytest.approx(s.score)
        assert 100 * s.counts[:, 0].sum() / s.counts[:, 1].sum() == pytest.approx(s.score)


def test_clips_of_foreign_events_only_are_left_out_and_counted():
    first, second = pair()
    joined = cross_dataset(Part(first, name="AVE"), Part(second, name="AVVP"))
    learned = np.concatenate([first.splits["train"], first.splits["val"]])
    only_horn = first.events[learned][..., 3].any(1) & ~first.events[learned][..., :3].any((1, 2))
    assert f"AVE: {only_horn.sum()} of {len(learned)} clips have events of other classes only" in joined.notes[0]
    assert joined.clips == sum(len(rows) for rows in joined.splits.values())
    assert joined.labels["event"].any((1, 2)).all()


def test_shorter_clips_are_padded():
    first, second = pair(steps=3)
    joined = cross_dataset(first, second)
    assert joined.steps == 5
    rows = joined.splits["test"]
    for m in joined.modalities:
        assert joined.masks[m][rows].sum(1).tolist() == [3] * len(rows)
        assert (joined.codes(1, m)[rows][:, 3:] == -1).all() and (joined.quantized(1, m, rows)[:, 3:] == 0).all()
    results = fit_probes(joined, QUICK, ("cross-dataset",), ("only1",))
    assert min(s.score for s in results.scores) > 90


def test_values_are_those_of_the_tables():
    first, second = pair()
    joined = JoinedCodes([first, second], [("train", "val", "test")] * 2)
    kept = np.concatenate([first.quantized(2, "video"), second.quantized(2, "video")])
    strange = [t.events[..., c].any(1) & ~np.delete(t.events, c, -1).any((1, 2)) for t, c in ((first, 3), (second, 2))]
    kept = kept[~np.concatenate(strange)]
    np.testing.assert_array_equal(joined.quantized(2, "video"), kept)
    some = np.array([5, joined.clips - 1, 0])
    np.testing.assert_array_equal(joined.quantized(2, "video", some), kept[some])
    np.testing.assert_array_equal(joined.code(1, "audio"), joined.codes(1, "audio")[..., 0])


def test_joint_symbols_are_numbered_alike_in_all_parts():
    first, second = (make_table(clips=60, stages=2, seed=s) for s in (0, 1))
    second.books = first.books
    joined = JoinedCodes([first, second], [("train", "val", "test")] * 2)
    number = {}
    for m in joined.modalities:
        pairs = joined.codes(1, m).reshape(-1, 2).tolist()
        for symbols, code in zip(pairs, joined.code(1, m).ravel(), strict=True):
            assert number.setdefault(tuple(symbols), code) == code
    assert len(set(number.values())) == len(number)


def test_data_sets_that_bring_a_modality_each_never_share_a_clip():
    first, second = pair()
    video, audio = Part(first, modalities=("video",), name="UCF"), Part(second, modalities=("audio",), name="VGG")
    joined = unpaired(video, audio)
    assert joined.modalities == ("video", "audio")
    assert not (joined.masks["video"].any(1) & joined.masks["audio"].any(1)).any()
    results = fit_probes(joined, QUICK, ("unpaired",), ("only1",))
    directions = {(s.train, s.test) for s in results.scores}
    assert directions == {("video", "audio"), ("audio", "video"), ("video", "video"), ("audio", "audio")}
    assert min(s.score for s in results.scores) > 95
    rows = {s.test: set(s.rows) for s in results.scores}
    assert rows["video"].isdisjoint(rows["audio"])


def test_one_data_set_stands_in_for_several():
    table = make_table(clips=300, two_events=0.5, modalities=("audio", "video", "text"))
    kinds = table.events.any(1).sum(1)
    cross = one_then_more(table)
    counted = cross.labels["event"].any(1).sum(1)
    assert (counted[cross.splits["train"]] == 1).all() and (counted[cross.splits["test"]] > 1).all()
    assert len(cross.splits["test"]) == (kinds[table.splits["test"]] > 1).sum()
    apart = never_paired(table)
    there = np.stack([apart.masks[m].any(1) for m in apart.modalities])
    assert (there.sum(0) == 1).all() and there.sum(1).tolist() == [100] * 3
    assert sum(len(rows) for rows in apart.splits.values()) == 300
    with pytest.raises(EvaluationError, match="0 of several; need both"):
        one_then_more(make_table(clips=40))


def test_all_that_keeps_tables_apart_is_said_at_once():
    first, second = pair()
    other = replace(second, books=[book + 1 for book in second.books])
    other.label_info = second.label_info
    bare = make_table(clips=40)
    bare.books, bare.labels = first.books, {"mood": np.zeros(40)}
    with pytest.raises(EvaluationError) as error:
        JoinedCodes(
            [Part(first, name="AVE"), Part(other, name="AVVP"), Part(bare, None, ("smell",), "UCF")], [("train",)] * 3
        )
    for said in (
        "AVVP was made by another model than AVE: found another codebook in layer 1", "UCF has no modality 'smell'",
        "UCF has labels: mood; need 'event'",
    ):  # fmt: skip
        assert said in str(error.value)
    deeper = make_table(clips=40)
    deeper.layers = 1
    with pytest.raises(EvaluationError, match="found 1 layers, need 2"):
        cross_dataset(first, deeper)
    with pytest.raises(EvaluationError, match=r"no event class that all tables have.*dog, church bell"):
        cross_dataset(first, make_same_model(first))
    with pytest.raises(EvaluationError, match="found audio, video in several"):
        unpaired(first, second)


def make_same_model(table):
    other = make_table(clips=40)
    other.books = table.books
    return other


def test_weights_decide_where_tables_know_them():
    first, second = pair()
    first.model, second.model = "a" * 64, "b" * 64
    with pytest.raises(EvaluationError, match="found weights bbbbbbbb, need aaaaaaaa"):
        cross_dataset(first, second)


def test_the_published_protocol_chooses_on_the_clips_it_scores():
    table = make_table(noise=0.5, clips=300, two_events=0.5)
    params = QUICK.model_copy(update={"probe_epochs": 12, "protocol": "published"})
    joined = one_then_more(table)
    results = fit_probes(joined, params, ("cross-dataset",), ("all",))
    np.testing.assert_array_equal(results.scores[0].rows, np.sort(joined.splits["test"]))
    shorter = fit_probes(joined, params.model_copy(update={"probe_epochs": 6}), ("cross-dataset",), ("all",))
    assert all(a.score >= b.score for a, b in zip(results.scores, shorter.scores, strict=True))


@pytest.fixture(scope="module")
def everything():
    table = make_table(clips=300, noise=0.3, two_events=0.5)
    tables = task_tables(table, "made up")
    return table, tables, fit_tasks(tables, QUICK.model_copy(update={"probe_epochs": 8}), ("all", "only1"))


def test_all_tasks_of_table_two_in_one_call(everything):
    table, tables, results = everything
    assert list(dict.fromkeys(s.task for s in results.scores)) == [
        "classification", "localisation", "cross-dataset", "unpaired", "open-set"
    ]  # fmt: skip
    assert set(results.chance) == set(results.clips) == set(tables.data)
    summary = results.frame()
    assert len(summary) == 5 * 2 * 4
    assert (summary.clip_low <= summary.score).all() and (summary.score <= summary.clip_high).all()
    # together or alone, a probe is the same
    alone = fit_probes(table, QUICK.model_copy(update={"probe_epochs": 8}), ("localisation",), ("only1",))
    for s in alone.scores:
        (t,) = results.select(task="localisation", representation="only1", train=s.train, test=s.test, seed=s.seed)
        assert s.values == pytest.approx(t.values)


def test_a_task_whose_data_are_missing_is_named_and_the_others_are_done():
    table = make_table(clips=120)  # no clip of several classes
    tables = task_tables(table)
    assert "cross-dataset" not in tables.tables
    assert tables.notes[0].startswith("cross-dataset was left out: found 120 clips of one event class")
    results = fit_tasks(tables.only("unpaired"), QUICK.model_copy(update={"probe_epochs": 1}), ("only1",))
    assert {s.task for s in results.scores} == {"unpaired"}
    assert tables.notes[0] in results.notes
    bare = make_table(clips=40)
    bare.labels, bare.label_info = {}, {}
    notes = fit_tasks(task_tables(bare), QUICK).notes
    assert any(
        n.startswith("classification and localisation and open-set: no probe was fitted: found labels: none")
        for n in notes
    )
    assert sum("was left out" in note for note in notes) == 2


def test_other_data_fill_the_tasks_they_are_given_for():
    first, second = pair()
    tables = task_tables(
        first, "own", {"localisation": [Part(second, name="AVVP")], "cross-dataset": [first, Part(second, name="AVVP")]}
    )
    assert tables.tables["localisation"] is second and tables.tables["classification"] is first
    assert tables.data == {
        "classification": "own", "localisation": "AVVP", "cross-dataset": " / AVVP", "unpaired": "own",
        "open-set": "own",
    }  # fmt: skip
    with pytest.raises(EvaluationError, match=r"'localization' is unknown .*\n.*found 1 tables for cross-dataset"):
        task_tables(first, others={"localization": [second], "cross-dataset": [second]})


def test_what_is_unlabelled_in_a_part_is_unlabelled_in_the_whole():
    first, second = make_table(clips=40), make_table(clips=40)
    known = np.arange(40) % 2 == 0
    second.labelled = {"event": np.repeat(known[:, None], second.steps, axis=1)}
    joined = JoinedCodes([first, second], [("train", "val", "test")] * 2)
    np.testing.assert_array_equal(joined.labelled["event"][:, 0], np.concatenate([np.ones(40, bool), known]))
