"""Open-set classification: what is unknown is unknown everywhere before test, and scores are what they are called."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from srcid.evaluation.open_set import OpenSet, _areas, open_set_scores
from srcid.evaluation.probes import fit_probes
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table

QUICK = EvaluationParams(probe_seeds=2, probe_epochs=30, probe_lr=1e-2, probe_batch=40)


@pytest.fixture(scope="module")
def table():
    return make_table(clips=400, steps=5, classes=8, noise=0.2)


@pytest.fixture(scope="module")
def results(table):
    return fit_probes(table, QUICK, ("open-set",), ("only1",))


def test_classes_are_known_or_unknown_in_one_split_only(table, results):
    task = OpenSet(table.events)
    known, val, test = map(set, task.groups)
    assert len(known) == 4 and len(val) == len(test) == 2 and not known & val and not (known | val) & test
    usable = table.events.any(1).sum(1) == 1
    classes = table.events.any(1).argmax(-1)
    for part, others in enumerate((set(), val, test)):
        assert set(classes[task.used(part)]) == known | others and not (task.used(part) & ~usable).any()
    for score in results.scores:
        assert set(classes[score.rows]) == known | test
        assert set(score.rows) <= set(table.splits["test"])
    assert any("unknown are" in note and "scored (test clips)" in note for note in results.notes)


def test_scores_follow_from_decisions(table, results):
    for s in results.scores:
        right, known, rejected, unknown = s.counts.sum(0)
        assert known + unknown == len(s.rows)
        k, u = 100 * right / known, 100 * rejected / unknown
        assert (s.values["known"], s.values["unknown"]) == pytest.approx((k, u))
        assert s.score == pytest.approx(2 * k * u / (k + u))
        assert s.values["auroc"] == pytest.approx(100 * roc_auc_score(s.counts[:, 1], s.prediction))
    assert np.mean([s.score for s in results.scores]) > results.chance["open-set"]["h"]


def test_the_threshold_is_the_best_of_all_on_the_clips_it_is_chosen_on(table):
    task = OpenSet(table.events)
    rows = np.flatnonzero(task.used(1))
    logits = np.random.default_rng(0).normal(size=(3, len(rows), task.outputs)).round(1)  # with ties
    decided = task.decide(logits)
    chosen = task.threshold(decided, rows)

    def h(threshold):
        counts = task.counts(task.decide(logits, threshold), rows, None).sum(1)
        k, u = counts[:, 0] / counts[:, 1], counts[:, 2] / counts[:, 3]
        return 2 * k * u / np.maximum(k + u, 1e-12)

    every = np.max([h(np.full((3, 1), t)) for t in np.unique(decided[..., 1])], axis=0)
    np.testing.assert_allclose(h(chosen), every)
    np.testing.assert_allclose(task.choose(decided, rows, None, False), every)


def test_the_area_is_that_of_scikit_learn_with_weights():
    draw = np.random.default_rng(0)
    known, confidence = draw.random(60) < 0.6, draw.random(60).round(1)
    weights = draw.integers(0, 4, (5, 60)).astype(np.float32)
    expected = [100 * roc_auc_score(known, confidence, sample_weight=w) for w in weights]
    np.testing.assert_allclose(_areas(confidence, known, weights), expected, rtol=1e-5)


def test_the_summary_has_intervals_and_a_finding(results):
    found = open_set_scores(results)
    assert len(found.rows) == 4
    for row in found.rows.itertuples():
        assert row.h.low <= row.h.value <= row.h.high and row.auroc.low < row.auroc.value < row.auroc.high
    across = found.rows[~found.rows["same"]]
    low = min(across["h"], key=lambda cell: cell.value)
    assert f"H {low.text('.0f')} to" in found.finding and "AUROC" in found.finding and "chance 50" in found.finding
    assert list(found.frame()["h"]) == [str(cell) for cell in found.rows["h"]]


def test_too_few_classes_are_said():
    results = fit_probes(make_table(classes=3), QUICK, ("open-set",), ("only1",))
    assert not results.scores and "open-set was left out: found 3 classes, need 4 or more." in results.notes
    assert "was not scored" in open_set_scores(results).finding
