"""Probes on codes whose worth is known: what transfers is found, the rest is not, nothing is peeked at."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from srcid.evaluation.details import class_confusion, class_scores
from srcid.evaluation.inputs import GatheredInputs, LookupInputs, read_inputs
from srcid.evaluation.metrics import EvaluationError, micro_scores, with_background
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.representation import Representation
from srcid.params import EvaluationParams
from tests.evaluation.fake import FakeTable, make_table

QUICK = EvaluationParams(probe_seeds=2, probe_epochs=40, probe_lr=1e-2, probe_batch=40)


def score(results, **which):
    return np.mean([s.score for s in results.select(**which)])


@pytest.fixture(scope="module")
def perfect():
    """Codes are labels, in two modalities."""
    return fit_probes(make_table(), QUICK, representations=("only1",))


@pytest.mark.parametrize("task", ["classification", "localisation"])
def test_codes_that_are_labels_score_full_marks_in_every_direction(perfect, task):
    assert len(perfect.select(task=task)) == 2 * 2 * 2  # train x test x seeds
    assert min(s.score for s in perfect.select(task=task)) > 98
    if task == "localisation":
        for s in perfect.select(task=task):
            assert min(s.values[name] for name in ("recall", "f1", "segment_f1", "event_f1")) > 95


def test_a_modality_shuffled_over_clips_scores_chance_everywhere():
    table = make_table(clips=600)
    order = np.random.default_rng(0).permutation(table.clips)
    table.symbols = {key: codes[order] for key, codes in table.symbols.items()}
    results = fit_probes(table, QUICK, representations=("only1",))
    for s in results.scores:
        assert s.score < results.chance[s.task][s.metric] + 15


def test_renamed_codes_of_one_modality_are_learnt_within_it_and_do_not_transfer():
    table = make_table(clips=480, classes=6, dim=24)
    rename = np.array([1, 2, 3, 4, 5, 6, 0])
    for layer in (1, 2):
        table.symbols[layer, "video"] = rename[table.symbols[layer, "video"]]
    results = fit_probes(table, QUICK, representations=("only1",))
    for m, n in (("audio", "video"), ("video", "audio")):
        for task in ("classification", "localisation"):
            assert score(results, task=task, train=m, test=m) > 95
            assert score(results, task=task, train=m, test=n) < 35


def test_layers_are_read_as_asked():
    table = make_table()
    table.symbols[1, "video"] = table.symbols[2, "video"]
    table.symbols[2, "audio"], table.symbols[1, "audio"] = (
        table.symbols[1, "audio"],
        table.symbols[2, "audio"],
    )
    results = fit_probes(table, QUICK, ("classification",), ("all", "only1", "only2"), train=("audio",))
    own = {r: score(results, representation=r, test="audio") for r in ("all", "only1", "only2")}
    assert own["only2"] > 95 > 60 > own["only1"]
    assert own["all"] > 70


def test_continuous_features_are_read_where_they_are_kept():
    table = make_table(noise=0.6)
    truth = with_background(table.events).astype(np.float32)
    for layer in (1, 2):
        for m in table.modalities:
            table.kept[layer, m] = (np.arange(table.clips), truth)
    results = fit_probes(table, QUICK, ("localisation",), ("only1", "continuous"))
    assert score(results, representation="continuous") > 98 > 80 > score(results, representation="only1")

    table.kept = {key: (rows[::2], values[::2]) for key, (rows, values) in table.kept.items()}
    results = fit_probes(table, QUICK, ("localisation",), ("only1", "continuous"))
    assert {s.representation for s in results.scores} == {"only1"}
    assert any("kept for 120 of the 240" in note and "keep_features=240" in note for note in results.notes)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("task", ["classification", "localisation"])
def test_look_up_and_gathering_are_the_same_probe(task, stages):
    table = make_table(clips=120, noise=0.3, stages=stages, two_events=0.3)
    table.masks["audio"][:, -1] = False
    params = EvaluationParams(probe_seeds=2, probe_epochs=4, probe_lr=1e-3, probe_batch=16)
    fast, slow = (fit_probes(table, params, (task,), ("all",), lookup=choice) for choice in (True, False))
    for a, b in zip(fast.scores, slow.scores, strict=True):
        assert (a.epoch, a.values) == (b.epoch, pytest.approx(b.values))
        if a.prediction is not None:
            np.testing.assert_allclose(a.prediction.astype(float), b.prediction.astype(float), atol=2e-3)


def test_a_probe_does_not_depend_on_its_stack():
    table = make_table(clips=120, noise=0.3, two_events=0.3, modalities=("audio", "video", "text"))
    params = EvaluationParams(probe_seeds=3, probe_epochs=5, probe_lr=1e-3, probe_batch=16)
    stacked = fit_probes(table, params, representations=("all", "only1"))
    for task in ("classification", "localisation"):
        alone = fit_probes(table, params.model_copy(update={"probe_seeds": 1}), (task,), ("only1",), train=("video",))
        for s in alone.scores:
            (t,) = stacked.select(task=task, representation="only1", train="video", test=s.test, seed=0)
            assert (s.epoch, s.values) == (t.epoch, pytest.approx(t.values))
            np.testing.assert_allclose(s.prediction.astype(float), t.prediction.astype(float), atol=2e-3)


def test_the_same_call_gives_the_same_result_to_the_bit():
    table = make_table(clips=120, noise=0.3)
    params = EvaluationParams(probe_seeds=2, probe_epochs=3, probe_batch=16)
    first, second = (fit_probes(table, params, representations=("all",)) for _ in range(2))
    assert [s.values for s in first.scores] == [s.values for s in second.scores]
    for a, b in zip(first.scores, second.scores, strict=True):
        np.testing.assert_array_equal(a.counts, b.counts)
    torch.manual_seed(1)  # nor does it depend on, or disturb, the global generator
    before = torch.random.get_rng_state()
    fit_probes(table, params, ("localisation",), ("only1",))
    assert torch.equal(before, torch.random.get_rng_state())


def one_layer(**options):
    table = make_table(**options)
    table.books = table.books[:1]
    table.layers = 1
    return table


def test_features_that_are_the_same_are_fitted_once():
    table = one_layer(clips=120, noise=0.3)
    params = EvaluationParams(probe_seeds=2, probe_epochs=3, probe_batch=16)
    results = fit_probes(table, params, ("classification",))
    assert {s.representation for s in results.scores} == {"all"}
    assert "representation 'only1' was left out: it reads the same features as 'all'." in results.notes
    # the name has no say: asked for alone, the same features give the same scores
    alone = fit_probes(table, params, ("classification",), ("only1",))
    assert [s.values for s in alone.scores] == [s.values for s in results.scores]
    assert {s.representation for s in alone.scores} == {"only1"}


def test_seeds_differ():
    table = make_table(clips=120, noise=0.5)
    results = fit_probes(table, QUICK.model_copy(update={"probe_epochs": 2}), ("localisation",), ("all",))
    assert len({s.values["f1"] for s in results.select(train="audio", test="audio")}) == 2


@pytest.mark.parametrize("task", ["classification", "localisation"])
def test_test_clips_have_no_say_in_training_or_in_the_choice_of_epoch(task):
    table = make_table(noise=0.4)
    other = replace(table, events=table.events.copy())
    test = table.splits["test"]
    other.events[test] = table.events[np.roll(test, 1)]
    params = QUICK.model_copy(update={"probe_epochs": 15})
    honest, altered = (fit_probes(t, params, (task,), ("all",)) for t in (table, other))
    assert [s.epoch for s in honest.scores] == [s.epoch for s in altered.scores]
    assert [s.score for s in honest.scores] != [s.score for s in altered.scores]
    shown = [s.prediction for s in honest.scores if s.prediction is not None]
    for a, b in zip(shown, [s.prediction for s in altered.scores if s.prediction is not None], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_published_protocol_chooses_where_it_scores():
    table = make_table(noise=0.5)
    params = QUICK.model_copy(update={"probe_epochs": 12, "protocol": "published"})
    results = fit_probes(table, params, ("classification",), ("all",))
    epochs = {n: [s.epoch for s in results.select(train="audio", test=n)] for n in ("audio", "video")}
    assert epochs["audio"] != epochs["video"]
    np.testing.assert_array_equal(results.scores[0].rows, np.sort(table.splits["train"]))
    # the best epoch is at least as good as any shorter training's best, on the very clips that are scored
    shorter = fit_probes(table, params.model_copy(update={"probe_epochs": 6}), ("classification",), ("all",))
    assert all(a.score >= b.score for a, b in zip(results.scores, shorter.scores, strict=True))


def test_counts_and_predictions_lead_to_the_score():
    table = make_table(noise=0.4, two_events=0.4)
    results = fit_probes(table, QUICK, representations=("all",))
    for s in results.scores:
        assert 100 * s.counts[:, 0].sum() / s.counts[:, 1].sum() == pytest.approx(s.score)
        assert (s.prediction is None) == (s.seed > 0)
        if s.seed == 0 and s.task == "localisation":
            again = micro_scores(s.prediction, with_background(table.events[s.rows]))
            assert again.precision == pytest.approx(s.score)


def test_absent_steps_are_neither_read_nor_scored():
    table = make_table(noise=0.0)
    table.masks["audio"][:, -2:] = False
    table.symbols = {key: codes.copy() for key, codes in table.symbols.items()}
    results = fit_probes(table, QUICK, ("localisation",), ("only1",))
    table.symbols[1, "audio"][:, -2:] = 0  # rubbish behind the mask
    same = fit_probes(table, QUICK, ("localisation",), ("only1",))
    assert [s.values for s in results.scores] == [s.values for s in same.scores]
    (s, _) = results.select(train="audio", test="audio")
    truths = with_background(table.events[s.rows])[:, :-2]
    assert s.values["recall"] == pytest.approx(100 * s.counts[:, 0].sum() / truths.sum())


def test_clips_without_a_modality_are_left_out_of_that_modality_only():
    table = make_table(noise=0.0)
    missing = table.splits["train"][:30]
    table.masks["audio"][missing] = False
    table.masks["video"][table.splits["test"][:10]] = False
    results = fit_probes(table, QUICK, representations=("only1",))
    assert {(s.test, len(s.rows)) for s in results.scores} == {("audio", 60), ("video", 50)}
    assert min(s.score for s in results.scores) > 95


def test_clips_with_two_classes_are_localised_but_not_classified():
    table = make_table(two_events=0.5)
    results = fit_probes(table, QUICK.model_copy(update={"probe_epochs": 2}), representations=("only1",))
    single = (table.events.any(1).sum(1) == 1)[table.splits["test"]].sum()
    assert results.clips["classification"]["test"] == single < 60 == results.clips["localisation"]["test"]
    assert any(f"{single} of 60 test clips" in note for note in results.notes)


def test_chance_is_the_most_frequent_class_of_the_training_clips():
    table = make_table()
    results = fit_probes(table, QUICK.model_copy(update={"probe_epochs": 1}), representations=("only1",))
    classes = {s: table.events[table.splits[s]].any(1).argmax(1) for s in ("train", "test")}
    usual = np.bincount(classes["train"]).argmax()
    assert results.chance["classification"]["accuracy"] == pytest.approx(100 * np.mean(classes["test"] == usual))
    assert 0 < results.chance["localisation"]["precision"] < 100


def padded(padding):
    """Clips of 6 steps, the last 4 of them padding; ``text`` lacks the first one too in half of the clips."""
    table = make_table(clips=120, steps=6, modalities=("audio", "video", "text"))
    table.events[:] = False
    kinds = np.random.default_rng(1).integers(1, 4, table.clips)
    table.events[np.arange(table.clips), :2, kinds] = True
    table.events[::3, :2] = np.eye(4, dtype=bool)[0]  # class 0 is the commonest by a little
    if padding == "as of the last event":
        table.events[:, 2:] = table.events[:, 1:2]
        table.events[:, 4:, 3] = True
    for m in table.modalities:
        table.masks[m][:, 2:] = False
    table.masks["text"][::2, :1] = False
    return table


@pytest.mark.parametrize("padding", ["as background", "as of the last event"])
def test_padding_is_no_event_and_no_background(padding):
    table = padded(padding)
    results = fit_probes(table, QUICK.model_copy(update={"probe_epochs": 1}), representations=("only1",))
    assert results.clips["classification"] == {"train": 60, "val": 30, "test": 30}
    assert not [note for note in results.notes if "exactly one class" in note]
    # no step without an event is present, so always answering the usual class is right as often per step as per clip
    labels = table.events[:, 0].argmax(-1)
    usual = np.bincount(labels[table.splits["train"]]).argmax()
    test = table.splits["test"]
    assert results.chance["classification"]["accuracy"] == pytest.approx(100 * np.mean(labels[test] == usual))
    present = np.concatenate([table.masks[m][test] for m in table.modalities])
    right = present & np.tile(labels[test] == usual, 3)[:, None]
    expected = 100 * right.sum() / present.sum()
    assert results.chance["localisation"]["precision"] == pytest.approx(expected)
    assert results.chance["localisation"]["recall"] == pytest.approx(expected)


def test_short_training_is_said():
    results = fit_probes(make_table(), QUICK.model_copy(update={"probe_epochs": 1}), ("localisation",), ("all",))
    assert any("raise probe_epochs" in note for note in results.notes)


def test_a_class_without_training_clips_is_named_and_scored():
    table = make_table(classes=4)
    has = table.events[..., 3].any(1)
    train = table.splits["train"]
    table.splits["train"] = train[~has[train]]
    results = fit_probes(table, QUICK, ("classification",), ("only1",))
    (note,) = [n for n in results.notes if "class 3" in n]
    lost = has[table.splits["test"]].sum()
    assert f"{lost} clips of split 'test'" in note
    assert max(s.score for s in results.scores) <= 100 * (1 - lost / 60) + 1e-9


def test_one_class_leaves_classification_out_and_localisation_in():
    results = fit_probes(make_table(classes=1), QUICK, representations=("only1",))
    assert {s.task for s in results.scores} == {"localisation"}
    assert any("classification was left out" in note and "one class" in note for note in results.notes)


def test_everything_that_is_wrong_is_said_at_once():
    table = make_table()
    table.labels = {"mood": np.zeros(table.clips)}
    table.splits = {"train": table.splits["train"], "val": np.array([], int)}
    with pytest.raises(EvaluationError, match=r"found no task; .*\n.*found no repr.*\n.*found no training modality"):
        fit_probes(table, QUICK, (), (), train=())
    with pytest.raises(EvaluationError) as error:
        fit_probes(table, QUICK, ("classificaton",), ("only7", "al"), train=("audoi",))
    for part in (
        "found labels: mood; need 'event'", "'val' is empty", "'test' is missing",
        "did you mean 'classification'", "reads layers (7,)", "representation 'al'", "did you mean 'audio'",
    ):  # fmt: skip
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"mood": np.zeros(240)}, "found labels: mood; need 'event', bool [clips, steps, classes]"),
        ({}, "found labels: none; need 'event'"),
        ({"event": np.zeros((240, 4), bool)}, "found label 'event' bool (240, 4); need bool [240, 5, classes]"),
        ({"event": np.zeros((240, 5, 4))}, "found label 'event' float64 (240, 5, 4); need bool"),
    ],
)
def test_what_the_data_cannot_give_is_said_and_not_raised(labels, said):
    table = make_table()
    table.labels = labels
    table.label_info = {name: SimpleNamespace(classes=()) for name in labels}
    del table.splits["test"]
    results = fit_probes(table, QUICK)
    assert (results.scores, results.chance, results.clips) == ((), {}, {})
    assert results.modalities == table.modalities
    events, split = results.notes
    assert events.startswith("no probe was fitted: ") and said in events
    assert split == "no probe was fitted: split 'test' is missing; the table has train, val."


def test_widths_that_differ_between_modalities_are_named():
    table = make_table()
    for layer in (1, 2):
        for m, width in (("audio", 3), ("video", 4)):
            table.kept[layer, m] = (
                np.arange(table.clips),
                np.ones((table.clips, table.steps, width), np.float32),
            )
    results = fit_probes(table, QUICK, ("localisation",), ("continuous", "only1"))
    assert any("widths {'audio': 3, 'video': 4}" in note for note in results.notes)
    assert len(results.scores) == 8


def test_scale_of_a_codebook_does_not_matter():
    table = make_table(noise=0.3)
    small = replace(table, books=[table.books[0] * 1e-3, table.books[1] * 1e3])
    params = QUICK.model_copy(update={"probe_epochs": 5})
    a, b = (fit_probes(t, params, ("classification",), ("all",)) for t in (table, small))
    assert [s.score for s in a.scores] == [s.score for s in b.scores]


def test_representations_may_be_given_in_full():
    backwards = Representation("backwards", (2, 1))
    results = fit_probes(make_table(), QUICK, ("classification",), (backwards,))
    assert {s.representation for s in results.scores} == {"backwards"}
    assert score(results, test="video") > 70


class WithoutCodebook(FakeTable):
    """Continuous values only, as the identity quantiser has."""

    def codebook(self, layer):
        return None

    def quantized(self, layer, modality, rows=None):
        return self.books[layer - 1][0][self.symbols[layer, modality][..., 0]][rows]


class WithJointCodes(FakeTable):
    """Two symbols a step that stand for one vector together, as those of a scalar quantiser do."""

    def codes(self, layer, modality):
        return np.stack(np.divmod(self.symbols[layer, modality][..., 0], 2), axis=-1)

    def code(self, layer, modality):
        return 10 * self.symbols[layer, modality][..., 0]  # any numbers will do

    def quantized(self, layer, modality, rows=None):
        return self.books[layer - 1][0][self.symbols[layer, modality][..., 0]][rows]


@pytest.mark.parametrize("kind", [WithoutCodebook, WithJointCodes])
def test_other_quantisers_are_read_as_their_vectors_say(kind):
    plain = make_table(clips=120, noise=0.3)
    other = kind(**{f.name: getattr(plain, f.name) for f in fields(FakeTable)})
    params = QUICK.model_copy(update={"probe_epochs": 5})
    expected, found = (fit_probes(t, params, representations=("all",)) for t in (plain, other))
    assert isinstance(
        read_inputs(other, Representation("all", (1, 2)), np.arange(120), np.arange(120), 80),
        LookupInputs if kind is WithJointCodes else GatheredInputs,
    )
    for a, b in zip(expected.scores, found.scores, strict=True):
        assert a.values == pytest.approx(b.values)


def without(table, clips):
    """The table without these clips."""
    rest = np.setdiff1d(np.arange(table.clips), clips)
    place = np.full(table.clips, -1)
    place[rest] = np.arange(len(rest))
    return replace(
        table, events=table.events[rest], symbols={key: codes[rest] for key, codes in table.symbols.items()},
        masks={m: mask[rest] for m, mask in table.masks.items()},
        splits={split: place[rows][place[rows] >= 0] for split, rows in table.splits.items()},
    )  # fmt: skip


@pytest.mark.parametrize("lookup", [True, False])
def test_unlabelled_clips_change_no_score(lookup):
    table = make_table(clips=160, two_events=0.3, noise=0.2)
    unknown = np.random.default_rng(1).permutation(table.clips)[: table.clips // 2]
    half = without(table, unknown)
    known = np.ones((table.clips, table.steps), bool)
    known[unknown] = False
    table.events[unknown] = np.random.default_rng(2).random(table.events[unknown].shape) < 0.5  # read by nobody
    table.labelled = {"event": known}
    for symbols in table.symbols.values():  # nor are the sizes of these clips' features
        symbols[unknown] = 0
    found, wanted = (fit_probes(t, QUICK, representations=("only1", "all"), lookup=lookup) for t in (table, half))
    assert len(found.scores) == len(wanted.scores) == 2 * 2 * 2 * 2 * 2  # tasks, representations, train, test, seeds
    for a, b in zip(found.scores, wanted.scores, strict=True):
        assert a.values == pytest.approx(b.values, rel=1e-6) and a.epoch == b.epoch
    assert found.chance == wanted.chance and found.clips == wanted.clips
    assert sum("the event is unknown in" in note for note in found.notes) == 3
    for a, b in zip(*(class_scores(r, t, "localisation", "only1") .frame().to_dict("records")
                      for r, t in ((found, table), (wanted, half))), strict=True):  # fmt: skip
        assert a == b


def test_unlabelled_steps_are_as_absent_ones():
    table = make_table(noise=0.2)
    known = np.random.default_rng(0).random((table.clips, table.steps)) < 0.6
    events = np.where(known[..., None], table.events, np.random.default_rng(1).random(table.events.shape) < 0.5)
    unlabelled = replace(table, events=events, labelled={"event": known})
    absent = replace(table, masks={m: mask & known for m, mask in table.masks.items()})
    found, wanted = (fit_probes(t, QUICK, representations=("only1",), lookup=False) for t in (unlabelled, absent))
    assert [s.values for s in found.scores] == [s.values for s in wanted.scores] and found.scores
    counts = [class_confusion(r, t, "localisation", "only1").counts for r, t in ((found, unlabelled), (wanted, absent))]
    np.testing.assert_array_equal(*counts)


def test_splits_without_any_labelled_clip_are_named():
    table = make_table()
    known = np.ones((table.clips, table.steps), bool)
    known[table.splits["val"]] = False
    table.labelled = {"event": known}
    assert "split 'val' is empty of clips whose event is known" in fit_probes(table, QUICK).notes[0]
