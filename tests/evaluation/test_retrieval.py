"""Retrieval: partners, captions, and fairness to ties."""

import numpy as np
import pytest

from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.ranking import retrieve
from srcid.evaluation.retrieval import code_retrieval, gallery
from tests.evaluation.fake import make_table


def test_partners_that_are_equal_are_found_first():
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    for score in retrieve(vectors, 3 * vectors):
        assert score.recall[1] == 100
        assert score.median_rank == score.ranks.mean() + 1 == 1
        np.testing.assert_array_equal(score.top[:, 0], np.arange(30))


def test_a_collapsed_codebook_scores_chance():
    vectors = np.ones((40, 8))
    for score in retrieve(vectors, vectors):
        assert score.recall == pytest.approx(score.chance)
        assert score.recall[1] == pytest.approx(100 / 40)
        assert score.recall[50] == 100
        assert score.ranks.mean() + 1 == pytest.approx(20.5)


def test_ties_are_scored_by_their_expectation():
    """Against breaking ties at random, many times over; two captions an item, few distinct vectors."""
    draw = np.random.default_rng(0)
    values = np.eye(3)
    items, owner = values[draw.integers(0, 3, 12)], np.repeat(np.arange(12), 2)
    captions = values[draw.integers(0, 3, 24)]
    tied = retrieve(items, captions, owner)[0]
    broken = items @ (captions + draw.normal(scale=1e-5, size=(5000, *captions.shape))).swapaxes(1, 2)
    best = np.where(owner == np.arange(12)[:, None], broken, -np.inf).max(2, keepdims=True)
    ranks = (broken > best).sum(2)
    for k in (1, 5, 10):
        assert tied.recall[k] == pytest.approx(100 * (ranks < k).mean(), abs=1)
    np.testing.assert_allclose(tied.ranks, ranks.mean(0), atol=0.4)


def test_chance_with_several_captions_is_that_of_the_first_one_found():
    score, back = retrieve(np.random.default_rng(0).normal(size=(10, 4)), np.ones((50, 4)), np.repeat(range(10), 5))
    assert score.chance[1] == pytest.approx(10)  # 5 of 50
    assert score.chance[50] == 100
    assert back.chance[1] == pytest.approx(10)  # 1 of 10


@pytest.mark.parametrize(("captions", "owner", "message"), [
    (np.ones((3, 4)), None, "2 items without a caption, the first is of item 3"),
    (np.ones((5, 4)), np.arange(4), "need one of the 5 items for each of the 5 captions"),
    (np.ones((5, 3)), None, "need"),
    (np.ones((5, 4)), np.array([0, 0, 1, 2, 3]), "1 items without a caption, the first is of item 4"),
    (np.ones((6, 4)), np.array([0, 1, 2, 3, 4, 9]), "1 captions of unknown items, the first is of item 9"),
    (np.ones((2, 4)), (np.array(list("abcde")), np.array(["a", "z"])), "(?s)unknown items.*item z.*4 items without"),
])  # fmt: skip
def test_bad_input_is_named(captions, owner, message):
    with pytest.raises(EvaluationError, match=message):
        retrieve(np.ones((5, 4)), captions, owner)


def test_codes_in_agreement_retrieve_each_other_and_shuffled_ones_do_not():
    table = make_table(clips=200, steps=10, classes=8, modalities=("audio", "video", "text"))
    table.symbols[1, "text"] = np.random.default_rng(1).permutation(table.symbols[1, "text"])
    scores = {(s.query, s.target): s for s in code_retrieval(table, ("only1",)).scores}
    assert len(scores) == 6
    assert scores["audio", "video"].recall[5] > 2.5 * scores["audio", "video"].chance[5]
    for pair in (("audio", "text"), ("text", "video")):
        assert scores[pair].recall[10] == pytest.approx(scores[pair].chance[10], abs=12)
    np.testing.assert_array_equal(scores["audio", "video"].queries, np.sort(table.splits["test"]))


def test_absent_steps_and_clips_are_left_out():
    table = make_table(clips=80, steps=6, classes=6)
    whole = code_retrieval(table, ("only1",)).scores
    gone = table.splits["test"][:5]
    table.masks["video"][gone] = False
    table.symbols[1, "audio"][:, -1] = 0
    for m in table.modalities:
        table.masks[m][:, -1] = False
    results = code_retrieval(table, ("only1",))
    scores = results.scores
    assert results.notes == ("5 items have only one of audio and video, and were left out of that pair.",)
    assert [len(s.ranks) for s in scores] == [len(w.ranks) - 5 for w in whole]
    assert not set(gone) & set(scores[0].queries)


def captions_table():
    """40 test items of three clips each: the sound is repeated, the captions differ in one of three steps."""
    table = make_table(clips=240, steps=10, classes=8, modalities=("audio", "text"))
    item = np.arange(240) // 3
    for m in ("audio", "text"):
        table.symbols[1, m] = table.symbols[1, m][item * 3].copy()
    table.symbols[1, "text"][np.arange(240), np.arange(240) % 3] = 0
    table.splits["test"] = np.arange(120, 240)
    return table, item


@pytest.mark.parametrize("masked", [False, True])
def test_captions_are_rows_that_share_an_item(masked):
    table, item = captions_table()
    if masked:  # as well as repeating the sound, a store may give it with the first caption only
        table.masks["audio"][np.arange(240) % 3 > 0] = False
    to_text, to_audio = code_retrieval(table, ("only1",), groups=item).scores
    assert (to_text.query, to_text.target) == ("audio", "text")
    assert (len(to_text.queries), len(to_text.candidates)) == (40, 120)
    assert (len(to_audio.queries), len(to_audio.candidates)) == (120, 40)
    assert to_text.recall[10] > to_text.chance[10]
    assert (to_text.right == (item[to_text.candidates][to_text.top] == item[to_text.queries][:, None])).all()


def test_the_label_item_groups_clips_and_those_without_are_left_out():
    table, item = captions_table()
    given = code_retrieval(table, ("only1",), groups=item)
    table.labels["item"] = item.copy()
    labelled = code_retrieval(table, ("only1",))
    assert [s.recall for s in labelled.scores] == [s.recall for s in given.scores]
    table.labels["item"][120:126] = -1
    fewer = code_retrieval(table, ("only1",))
    assert fewer.notes == ("6 of 120 clips of split 'test' belong to no item.",)
    assert len(fewer.scores[0].queries) == 38


def test_several_clips_of_an_item_on_both_sides_are_all_partners():
    vectors = np.eye(4)
    forth, back = retrieve(vectors[[0, 1, 2]], vectors[[1, 3, 2]], (np.array([7, 7, 9]), np.array([7, 7, 9])), (1, 2))
    assert forth.found[1][1] == 1 and forth.found[1][2] == 1
    assert forth.recall[1] == pytest.approx(100 * (2 + forth.found[1][0]) / 3)
    assert 0 < forth.found[1][0] < 1  # its partners tie with a stranger
    assert back.groups.tolist() == [7, 7, 9]


def test_intervals_are_over_items():
    """Three captions of an item are one draw: 40 items, half of them found, not 120 queries."""
    items, owner = np.eye(40), np.repeat(np.arange(40), 3)
    said = np.where(owner < 20, owner, (owner + 1) % 20)
    _, back = retrieve(items, items[said], owner, cutoffs=(1,))
    assert back.recall[1] == 50
    found = back.interval(1)
    assert found.value == 50 and found.n == 40
    assert found.high - found.low == pytest.approx(2 * 196 * np.sqrt(0.25 / 40), rel=0.1)
    table, item = captions_table()
    results = code_retrieval(table, ("only1",), groups=item)
    assert list(results.frame()["R@5"]) == [f"{s.interval(5)} (chance {s.chance[5]:.1f})" for s in results.scores]
    assert "Retrieval on test clips: R@5 from" in results.finding and "chance" in results.finding


def test_a_gallery_shows_the_best_the_worst_and_what_lies_between():
    table, item = captions_table()
    (score, _) = code_retrieval(table, ("only1",), groups=item).scores
    shown = gallery(score, queries=5, top=3)
    assert shown.hits.shape == shown.right.shape == (5, 3)
    assert (np.diff(shown.ranks) >= 0).all()
    assert (shown.ranks[0], shown.ranks[-1]) == (score.ranks.min() + 1, score.ranks.max() + 1)
    assert (shown.right == (item[shown.hits] == item[shown.queries][:, None])).all()
    with pytest.raises(EvaluationError, match="bare arrays"):
        gallery(retrieve(np.eye(3), np.eye(3))[0])


def test_a_pair_that_no_item_has_is_said_and_the_others_are_scored():
    table = make_table(clips=80, steps=6, classes=6, modalities=("audio", "video", "text"))
    odd = np.arange(80) % 2 == 1
    table.masks["audio"][odd] = table.masks["video"][~odd] = False
    results = code_retrieval(table, ("only1", "all"))
    assert {(s.query, s.target) for s in results.scores} == {
        ("audio", "text"), ("text", "audio"), ("video", "text"), ("text", "video")
    }  # fmt: skip
    assert "audio and video: no item of split 'test' has both." in results.notes


def test_what_is_wrong_is_said_at_once():
    with pytest.raises(EvaluationError) as error:
        code_retrieval(make_table(clips=40), ("only3", "al"), split="tset", groups=np.zeros(7))
    for part in ("layers (3,)", "representation 'al'", "split 'tset'", "a whole number per clip"):
        assert part in str(error.value)


def test_the_same_features_are_scored_once():
    table = make_table(clips=40)
    table.books, table.layers = table.books[:1], 1
    results = code_retrieval(table)
    assert {s.representation for s in results.scores} == {"all"}
    assert results.notes == ("representation 'only1' was left out: it reads the same features as 'all'.",)
