"""TOC chooses the coordinates that the authors' code chooses, on validation clips, and nothing else changes."""

import numpy as np
import pytest

from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.representation import Representation
from srcid.evaluation.retrieval import code_retrieval
from srcid.evaluation.toc import best_coordinates, coordinate_scores, kept_coordinates
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table
from tests.helpers import reference

QUICK = EvaluationParams(probe_seeds=1, probe_epochs=15, probe_lr=1e-2, probe_batch=40)


@pytest.mark.parametrize("name", ["toc", "toc_l400_d128"])
def test_scores_and_picks_are_the_references(name):
    vectors = reference(name)
    scores = {
        "sv": coordinate_scores(vectors["codebook"]),
        "s": coordinate_scores(vectors["codebook"], variance=0),
    }
    for kind, found in scores.items():
        np.testing.assert_allclose(found, vectors[f"score_{kind}"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(-scores["s"] / 0.7, vectors["S"], rtol=0, atol=1e-10)
    seen = 0
    for key in vectors:
        if key.startswith("pick_") and not key.endswith("float32"):
            kind, *numbers = key.removeprefix("pick_").split("_")
            np.testing.assert_array_equal(best_coordinates(scores[kind], *map(int, numbers)), vectors[key])
            seen += 1
    assert seen >= 6


def test_features_of_two_layers_are_the_references():
    vectors = reference("toc_two_layer")
    for key in (key for key in vectors if key.startswith("pick_")):
        numbers = list(map(int, key.removeprefix("pick_").split("_")))
        picks = [best_coordinates(coordinate_scores(book), *numbers) for book in vectors["codebook"]]
        np.testing.assert_array_equal(picks, vectors[key])
        read = [vectors["codebook"][k][vectors["indices"][k]][..., picks[k]] for k in (0, 1)]
        features = vectors[key.replace("pick", "features")]
        np.testing.assert_allclose(np.concatenate(read, axis=-1), features, rtol=0, atol=1e-10)


def test_the_closed_form_is_the_mean_over_pairs_and_weights_count_codes():
    draw = np.random.default_rng(0)
    book, counts = draw.normal(size=(7, 5)), np.array([1, 3, 0, 2, 1, 0, 4])
    pairs = [book[i] * book[j] for i in range(7) for j in range(7) if i != j]
    np.testing.assert_allclose(coordinate_scores(book, variance=0), -0.7 * np.mean(pairs, axis=0), atol=1e-12)
    np.testing.assert_allclose(coordinate_scores(book, similarity=0), 0.3 * book.var(0, ddof=1), atol=1e-12)
    # codes that are never used do not count
    np.testing.assert_allclose(coordinate_scores(book, counts), coordinate_scores(book[counts > 0], counts[counts > 0]))
    assert (coordinate_scores(book, np.eye(7)[2]) == 0).all()


def test_every_representation_reads_fewer_coordinates_of_the_same_codes():
    table = make_table(stages=2)
    rows = table.splits["test"]
    whole = Representation.named("all", 2)
    for name in ("toc", "toc-by-use", "only1+toc"):
        for found in Representation.named(name, 2).candidates():
            for layer in found.layers:
                kept = found.coordinates(table, layer)
                width = round(found.keep * table.books[layer - 1].shape[-1])
                vectors = found.vectors(table, layer, "audio", rows)
                assert vectors.shape[-1] == width == found.codebook(table, layer).shape[-1]
                np.testing.assert_array_equal(vectors, whole.vectors(table, layer, "audio", rows)[..., kept])
    book = table.codebook(1)
    np.testing.assert_array_equal(kept_coordinates(book, 1.0), np.arange(book.shape[-1]))
    with pytest.raises(EvaluationError, match="need quantised features for toc"):
        Representation.named("continuous+toc", 2)


def test_the_share_is_chosen_on_validation_clips_for_probes_and_retrieval():
    """Two coordinates of eight tell the classes apart; the others say which modality it is, loudly."""
    table = make_table(clips=240, classes=4)
    draw = np.random.default_rng(0)
    table.books[0][..., :2] = draw.normal(size=(1, 5, 2)) * 5
    table.books[0][..., 2:] = 30.0
    results = fit_probes(table, QUICK, ("classification",), ("only1", "only1+toc"))
    assert {s.representation for s in results.scores} == {"only1", "only1+toc"}
    said = "% of the coordinates are read, chosen on validation clips."
    assert [note for note in results.notes if note.startswith("classification, only1+toc") and note.endswith(said)]
    found = code_retrieval(table, ("only1", "only1+toc"))
    recall = {
        name: np.mean([s.recall[1] for s in found.select(representation=name)]) for name in ("only1", "only1+toc")
    }
    assert recall["only1+toc"] >= recall["only1"]
    assert any("25% of the coordinates" in note or "50% of the coordinates" in note for note in found.notes)
    del table.splits["val"]
    assert any("need some to choose" in note for note in code_retrieval(table, ("only1+toc",)).notes)


def test_a_code_without_vectors_is_left_out_with_its_reason():
    table = make_table()
    table.codebook = lambda layer: None
    notes = fit_probes(table, QUICK, ("classification",), ("toc",)).notes
    assert any("'toc' was left out: the code of this quantiser has no vectors" in note for note in notes)
