"""Scores, losses, probes and retrieval against the reference vectors of the authors' code."""

import numpy as np
import pytest
import torch

from srcid.evaluation.inputs import GatheredInputs
from srcid.evaluation.metrics import clip_class, micro_scores
from srcid.evaluation.ranking import retrieve
from srcid.evaluation.tasks import Classification, Localisation, localisation_loss
from tests.helpers import reference


def test_clip_class_and_accuracy():
    vectors = reference("metric_accuracy_supervised")
    for suffix in ("", "_multi"):
        classes = clip_class(vectors[f"labels{suffix}"][..., :-1], empty=0)
        np.testing.assert_array_equal(classes, vectors[f"labels_event{suffix}"])
        right = vectors["event_scores"].argmax(-1) == classes
        assert 100 * right.mean() == float(vectors[f"accuracy{suffix}"])
    assert float(vectors["accuracy_ucf"]) == float(vectors["accuracy"])
    # where a clip has one class the rule finds it; clip 0 has none, which we do not call class 0
    np.testing.assert_array_equal(vectors["labels_event"][1:], vectors["clip_class"][1:])
    assert clip_class(vectors["labels"][..., :-1])[0] == -1


def test_micro_precision_and_recall():
    vectors = reference("metric_precision_recall")
    probabilities, labels = vectors["probs"], vectors["labels"]
    scores = micro_scores(probabilities, labels)
    # the reference is float32
    assert scores.precision / 100 == pytest.approx(float(vectors["precision"]), rel=1e-6)
    assert scores.recall / 100 == pytest.approx(float(vectors["recall"]), rel=1e-6)
    silent = micro_scores(np.full_like(probabilities, 0.5), labels)
    assert [silent.precision, silent.recall] == [
        vectors["precision_at_exact_half"],
        vectors["recall_at_exact_half"],
    ]
    silent = micro_scores(np.full_like(probabilities, 0.3), labels)
    assert [silent.precision, silent.recall, silent.f1] == [
        vectors["precision_none"],
        vectors["recall_none"],
        0,
    ]


def test_precision_and_recall_of_batches():
    vectors = reference("metric_precision_recall")
    ends = np.cumsum(vectors["batch_rows"])
    for end, rows, precision, recall in zip(
        ends, vectors["batch_rows"], vectors["batch_precision"], vectors["batch_recall"], strict=True
    ):
        batch = micro_scores(vectors["probs"][end - rows : end], vectors["labels"][end - rows : end])
        assert [batch.precision / 100, batch.recall / 100] == pytest.approx([precision, recall], rel=1e-6)


def test_localisation_loss_and_its_gradients():
    vectors = reference("loss_avvp")
    logits = torch.from_numpy(vectors["logits"]).requires_grad_()
    alpha = torch.from_numpy(vectors["alpha"]).double().requires_grad_()
    labels = torch.from_numpy(vectors["labels"]).double()
    total = localisation_loss(logits, labels, alpha).mean()
    total.backward()
    cross = localisation_loss(logits, labels, torch.inf).mean()  # exp(-inf) = 0 leaves the first term
    assert cross.item() == pytest.approx(float(vectors["bce"]), rel=1e-6)  # float32 in the reference
    # the reference takes exp(-alpha) in float32
    assert (total - cross).item() == pytest.approx(float(vectors["explog"]), rel=1e-7)
    assert total.item() == pytest.approx(float(vectors["total"]), rel=1e-7)
    np.testing.assert_allclose(logits.grad, vectors["grad_logits"], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(alpha.grad, vectors["grad_alpha"], rtol=1e-5)


@pytest.mark.parametrize(("task", "prefix", "result"), [
    (Classification, "clip", "clip_logits"), (Localisation, "seg", "seg_logits"),
])  # fmt: skip
def test_probe_networks(task, prefix, result):
    vectors = reference("net_probes")
    x = torch.from_numpy(vectors["x"])[None]
    clips, steps = x.shape[1:3]
    inputs = GatheredInputs(x, torch.arange(clips), torch.ones(1, clips, steps, dtype=torch.bool))
    weights = {
        f"{ours}{end}": torch.from_numpy(vectors[f"{prefix}_{theirs}__{kind}"].T.copy())[None]
        for ours, theirs in (("hidden", "linear"), ("out", "event_classifier"))
        for end, kind in (("", "weight"), ("_bias", "bias"))
    }
    probe = task(np.zeros((clips, steps, vectors[result].shape[-1] - (prefix == "seg")), bool))
    which, rows = torch.zeros(1, dtype=torch.long), torch.arange(clips)[None]
    logits = probe.forward(inputs, probe.prepare(inputs, weights), which, rows)
    np.testing.assert_allclose(logits[0], vectors[result], rtol=0, atol=1e-12)


def test_retrieval_of_pairs():
    vectors = reference("retrieval_50x50")
    for score, name in zip(retrieve(vectors["a"], vectors["b"]), ("a2t", "t2a"), strict=True):
        _check(score, vectors, name)


def test_retrieval_with_several_captions():
    vectors = reference("retrieval_50x50")
    owner = np.repeat(np.arange(len(vectors["multi_num"])), vectors["multi_num"])
    items = vectors["multi_a"][np.unique(owner, return_index=True)[1]]
    captions = vectors["multi_b"][: len(owner)]
    for score, name in zip(retrieve(items, captions, owner), ("multi_a2t", "multi_t2a"), strict=True):
        _check(score, vectors, name)


def _check(score, vectors, name):
    np.testing.assert_array_equal(score.ranks, vectors[f"{name}_ranks"])
    np.testing.assert_array_equal(score.top[:, 0], vectors[f"{name}_top1"])
    found = [*score.recall.values(), score.median_rank, 1 + score.ranks.mean()]
    assert found == pytest.approx(list(vectors[f"{name}_metrics"]), rel=1e-12)
