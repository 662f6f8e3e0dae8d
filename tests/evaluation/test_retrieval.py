"""Retrieval: partners, captions, and fairness to ties."""

import numpy as np
import pytest

from srcid.evaluation import EvaluationError, code_retrieval, retrieve
from tests.evaluation.fake import make_table


def test_partners_that_are_equal_are_found_first():
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    for score in retrieve(vectors, 3 * vectors):
        assert score.recall[1] == 100
        assert score.median_rank == score.mean_rank == 1
        np.testing.assert_array_equal(score.top[:, 0], np.arange(30))


def test_a_collapsed_codebook_scores_chance():
    vectors = np.ones((40, 8))
    for score in retrieve(vectors, vectors):
        assert score.recall == pytest.approx(score.chance)
        assert score.recall[1] == pytest.approx(100 / 40)
        assert score.recall[50] == 100
        assert score.mean_rank == pytest.approx(20.5)


def test_ties_are_scored_by_their_expectation():
    """Against breaking ties at random, many times over; two captions an item, few distinct vectors."""
    draw = np.random.default_rng(0)
    values = np.eye(3)
    items, owner = values[draw.integers(0, 3, 12)], np.repeat(np.arange(12), 2)
    captions = values[draw.integers(0, 3, 24)]
    tied = retrieve(items, captions, owner)
    broken = [retrieve(items, captions + draw.normal(scale=1e-5, size=captions.shape), owner)[0] for _ in range(1500)]
    for k in (1, 5, 10):
        assert tied[0].recall[k] == pytest.approx(np.mean([b.recall[k] for b in broken]), abs=1.5)
    assert tied[0].mean_rank == pytest.approx(np.mean([b.mean_rank for b in broken]), abs=0.1)


def test_chance_with_several_captions_is_that_of_the_first_one_found():
    score, back = retrieve(np.random.default_rng(0).normal(size=(10, 4)), np.ones((50, 4)), np.repeat(range(10), 5))
    assert score.chance[1] == pytest.approx(10)  # 5 of 50
    assert score.chance[50] == 100
    assert back.chance[1] == pytest.approx(10)  # 1 of 10


@pytest.mark.parametrize(("captions", "owner", "message"), [
    (np.ones((3, 4)), None, "need one of the 5 items"),
    (np.ones((5, 3)), None, "need"),
    (np.ones((5, 4)), np.array([0, 0, 1, 2, 3]), "item 4"),
])  # fmt: skip
def test_bad_input_is_named(captions, owner, message):
    with pytest.raises(EvaluationError, match=message):
        retrieve(np.ones((5, 4)), captions, owner)


def test_codes_in_agreement_retrieve_each_other_and_shuffled_ones_do_not():
    table = make_table(clips=200, steps=10, classes=8, modalities=("audio", "video", "text"))
    table.symbols[1, "text"] = np.random.default_rng(1).permutation(table.symbols[1, "text"])
    scores = {(s.query, s.target): s for s in code_retrieval(table, ("only1",))}
    assert len(scores) == 6
    assert scores["audio", "video"].recall[5] > 2.5 * scores["audio", "video"].chance[5]
    for pair in (("audio", "text"), ("text", "video")):
        assert scores[pair].recall[10] == pytest.approx(scores[pair].chance[10], abs=12)
    np.testing.assert_array_equal(scores["audio", "video"].queries, np.sort(table.splits["test"]))


def test_absent_steps_and_clips_are_left_out():
    table = make_table(clips=80, steps=6, classes=6)
    whole = code_retrieval(table, ("only1",))
    gone = table.splits["test"][:5]
    table.masks["video"][gone] = False
    table.symbols[1, "audio"][:, -1] = 0
    for m in table.modalities:
        table.masks[m][:, -1] = False
    scores = code_retrieval(table, ("only1",))
    assert [len(s.ranks) for s in scores] == [len(w.ranks) - 5 for w in whole]
    assert not set(gone) & set(scores[0].queries)


def test_captions_are_rows_that_share_an_item():
    table = make_table(clips=240, steps=10, classes=8, modalities=("audio", "text"))
    item = np.arange(240) // 3
    for m in ("audio", "text"):
        table.symbols[1, m] = table.symbols[1, m][item * 3]  # three captions that say the same
    table.splits["test"] = np.arange(120, 240)
    to_text, to_audio = code_retrieval(table, ("only1",), item=item, captions="text")
    assert (to_text.query, to_text.target) == ("audio", "text")
    assert (len(to_text.queries), len(to_text.candidates)) == (40, 120)
    assert (len(to_audio.queries), len(to_audio.candidates)) == (120, 40)
    assert to_text.recall[10] > to_text.chance[10]


@pytest.mark.parametrize(("arguments", "message"), [
    (dict(split="tset"), "split 'tset'"), (dict(captions="words"), "modality 'words'"),
    (dict(representations=("only3",)), "layers"),
])  # fmt: skip
def test_unknown_names_are_said(arguments, message):
    with pytest.raises(EvaluationError, match=message):
        code_retrieval(make_table(clips=40), **arguments)
