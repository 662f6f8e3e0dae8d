"""Classes, confusions, thresholds and single clips say what the scores say."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from srcid.evaluation.details import class_confusion, class_scores, timelines
from srcid.evaluation.figures.scores import class_scores_figure, score_figure
from srcid.evaluation.figures.timelines import timeline_figure
from srcid.evaluation.metrics import EvaluationError, with_background
from srcid.evaluation.probes import fit_probes
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table


@pytest.fixture(scope="module")
def judged():
    """Codes in which video takes class 0 for class 1, always; audio is right."""
    table = make_table(clips=300, noise=0.1, two_events=0.3)
    codes = table.symbols[1, "video"]
    codes[codes == 0] = 1
    table.masks["video"][:, -1] = False
    params = EvaluationParams(probe_seeds=2, probe_epochs=30, probe_lr=1e-2, probe_batch=40)
    return table, fit_probes(table, params, representations=("only1",))


def test_class_scores_are_those_of_the_predictions(judged):
    table, results = judged
    scores = class_scores(results, table, "localisation", "only1")
    assert scores.classes == (*table.label_info["event"].classes, "background")
    said, truth = [], []
    for s in results.select(task="localisation", seed=0):
        if s.train != s.test:
            there = table.masks[s.test][s.rows]
            said.append((s.prediction > 0.5)[there])
            truth.append(with_background(table.events[s.rows])[there])
    expected = 100 * f1_score(np.concatenate(truth), np.concatenate(said), average=None)
    found = [cell.value for cell in scores.across]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert all(cell.low <= cell.value <= cell.high for cell in scores.across)
    assert min(found[2:4]) > 80 > found[0]
    frame = scores.frame()
    assert list(frame["across"]) == sorted(found, reverse=True)
    best, worst = frame.iloc[0], frame.iloc[-1]
    assert (
        f"{best['across']:.0f} [{best['across_low']:.0f}, {best['across_high']:.0f}] % ({best.name})" in scores.finding
    )
    assert f"({worst.name})" in scores.finding


def test_confusion_finds_what_is_taken_for_what(judged):
    table, results = judged
    confusion = class_confusion(results, table, "classification", "only1", "across")
    single = table.events[table.splits["test"]].any(1).sum(1) == 1
    assert confusion.counts.sum() == 2 * single.sum() and confusion.directions == 2
    assert confusion.right.value == pytest.approx(100 * np.trace(confusion.counts) / confusion.counts.sum())
    assert confusion.right.text(".0f") in confusion.finding and confusion.frame().to_numpy().sum() == 2 * single.sum()
    names = table.label_info["event"].classes
    assert {pair[:2] for pair in confusion.top(2)} & {(names[0], names[1]), (names[1], names[0])}
    steps = class_confusion(results, table, "localisation", "only1", "within")
    assert steps.counts.shape == (5, 5) and "steps" in steps.unit
    right = np.trace(steps.counts) / steps.counts.sum()
    assert right > 0.7


def test_timelines_hold_truth_predictions_and_codes(judged):
    table, results = judged
    lines = timelines(results, table, representation="only1")
    scored = np.unique(np.concatenate([s.rows for s in results.select(task="localisation", seed=0)]))
    f1 = np.array([line.f1 for line in timelines(results, table, scored.tolist(), representation="only1")])
    for line, place in zip(lines, (0.9, 0.5, 0.1), strict=True):
        assert line.quantile == pytest.approx((f1 < line.f1).sum() / (len(f1) - 1))
        assert (f1 < line.f1).mean() - 0.01 <= place <= (f1 <= line.f1).mean() + 0.01
    assert lines[0].f1 >= lines[1].f1 >= lines[2].f1
    (s,) = results.select(task="localisation", train="audio", test="video", seed=0)
    for line in lines:
        columns = [table.label_info["event"].classes.index(c) for c in line.classes]
        np.testing.assert_array_equal(line.truth, table.events[line.clip][:, columns])
        place = np.flatnonzero(s.rows == line.clip)[0]
        np.testing.assert_array_equal(line.said["audio", "video"], (s.prediction[place] > 0.5)[:, columns])
        np.testing.assert_array_equal(line.codes[1, "video"], table.code(1, "video")[line.clip])
    (chosen,) = timelines(results, table, [lines[2].clip], representation="only1")
    assert chosen.f1 == lines[2].f1
    with pytest.raises(EvaluationError, match="which were not scored"):
        timelines(results, table, [int(table.splits["train"][0])], representation="only1")


def test_silence_about_a_clip_without_events_is_right():
    table = make_table(clips=200, noise=0.1)
    quiet = table.splits["test"][:3]
    table.events[quiet] = False
    for m in table.modalities:
        table.symbols[1, m][quiet, :, 0] = 4  # the code of background
    params = EvaluationParams(probe_seeds=1, probe_epochs=30, probe_lr=1e-2, probe_batch=40)
    results = fit_probes(table, params, ["localisation"], ["only1"])
    lines = timelines(results, table, quiet.tolist(), "only1")
    every = timelines(results, table, np.sort(table.splits["test"]).tolist(), "only1")
    worse = np.mean([line.f1 < 100 for line in every]) * len(every) / (len(every) - 1)
    assert [line.f1 for line in lines] == [100.0] * 3 and 0.3 < worse < 0.9
    assert [line.quantile for line in lines] == pytest.approx([worse] * 3)  # clips of equal F1 are not worse
    assert f"better than {worse:.0%} of test clips" in lines[0].finding
    assert "nan" not in timeline_figure(lines).layout.title.text


def test_confusion_of_a_task_with_one_answer_a_clip(judged):
    table, results = judged
    scores = results.select(task="classification")
    same = replace(results, scores=tuple(replace(score, task="unpaired") for score in scores))
    found, expected = (
        class_confusion(r, table, task, "only1") for r, task in ((same, "unpaired"), (results, "classification"))
    )
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert (found.right, found.unit) == (expected.right, "clips")


def test_the_published_protocol_scores_training_clips_and_says_so():
    table = make_table(clips=120, noise=0.1)
    params = EvaluationParams(probe_seeds=1, probe_epochs=3, probe_lr=1e-2, probe_batch=40, protocol="published")
    results = fit_probes(table, params, representations=["all"])
    scores, confusion = class_scores(results, table), class_confusion(results, table)
    said = [scores.finding, confusion.finding, timelines(results, table)[0].finding]
    drawn = [score_figure(results.frame()), class_scores_figure(scores)]
    said += [note.text for fig in drawn for note in fig.layout.annotations if note.name == "caption"]
    assert len(said) == 5
    for text in said:
        assert "train" in text.replace("trained", "") and "test" not in text


def test_what_was_not_scored_is_said(judged):
    table, results = judged
    for ask in (class_scores, class_confusion, timelines):
        with pytest.raises(EvaluationError, match="found no"):
            ask(results, table, representation="all")
