"""What codes mean, and what a later layer adds: planted truths are found, noise is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from srcid.codebook.added_information import added_information
from srcid.codebook.meaning import association
from srcid.symbols import InspectionError, StepLabel


def spread(values, steps=6):
    return np.repeat(values[:, None], steps, axis=1)


@pytest.mark.parametrize("modality", [None, "third"])
@pytest.mark.parametrize("label", ["event", "speaker", "loudness"])
def test_counts_equal_plain_loops(tables, label, modality):
    table = tables["vq"]
    found = association(table, label, layer=2, modality=modality)
    expected, total, clips = {}, {}, {}
    event, speaker = table.labels["event"], table.labels["speaker"]
    cuts = np.quantile(table.labels["loudness"], np.linspace(0, 1, 9))[1:-1]
    for m in [modality] if modality else table.modalities:
        for (clip, step), code in np.ndenumerate(table.code(2, m)):
            if label == "event":
                holds = [table.label_info["event"].classes[c] for c in np.flatnonzero(event[clip, step])]
                holds = holds or ["background"]
            elif label == "speaker":
                holds = [] if speaker[clip] < 0 else [table.label_info["speaker"].classes[speaker[clip]]]
            else:
                loudness = table.labels["loudness"][clip, step, 0]
                holds = [found.classes[np.searchsorted(cuts, loudness, side="right")]]
            if code < 0 or not holds:
                continue
            total[code] = total.get(code, 0) + 1
            clips.setdefault(code, set()).add(clip)
            for name in holds:
                expected[code, name] = expected.get((code, name), 0) + 1
    assert list(found.codes) == sorted(total)
    for row, code in enumerate(found.codes):
        assert (found.total[row], found.clips[row]) == (total[code], len(clips[code]))
        for column, name in enumerate(found.classes):
            assert found.counts[row, column] == expected.get((code, name), 0)
    whole = found.counts.sum(axis=0) / found.total.sum()
    np.testing.assert_allclose(found.prior, whole)
    np.testing.assert_allclose(found.lift, found.counts / found.total[:, None] / whole)
    np.testing.assert_allclose(found.purity, found.counts.max(axis=1) / found.total)
    assert ((found.low <= found.purity) & (found.purity <= found.high)).all()
    assert found.notes == (("'loudness' is cut into 8 bins of equal size",) if label == "loudness" else ())


def test_a_planted_code_is_found_first():
    draw = np.random.default_rng(0)
    kind = draw.integers(6, size=200)
    codes = draw.integers(30, size=(200, 6))
    codes[:, 2] = np.where(kind == 4, 30, codes[:, 2])
    label = StepLabel.of(kind, "kind", classes=list("uvwxyz"), steps=6)
    found = association({"a": codes, "b": draw.integers(30, size=codes.shape)}, label)
    (best,) = found.by_class().to_dict("records")
    assert (best["class"], best["code"], best["share"]) == ("y", 30, 1.0) and best["low"] > 0.8
    assert best["p"] < 1e-3 and best["lift"] == pytest.approx(1 / (kind == 4).mean(), rel=1e-6)
    assert found.frame().set_index("code").loc[30, "class"] == "y"
    assert "1 of 31 codes go with a class" in found.finding


def test_noise_that_sticks_to_clips_has_no_meaning():
    """Codes and labels constant in a clip: a test of steps finds meaning everywhere, this one finds none."""
    draw = np.random.default_rng(0)
    found, naive = 0, 0
    for _ in range(20):
        codes, kind = spread(draw.integers(10, size=150), 10), draw.integers(4, size=150)
        result = association({"a": codes}, StepLabel.of(kind, steps=10))
        found += bool((result.p_value < 0.05).any())
        table = np.zeros((10, 4))
        np.add.at(table, (codes.ravel(), spread(kind, 10).ravel()), 1)
        naive += stats.chi2_contingency(table).pvalue < 0.05
    assert found <= 3
    assert naive >= 18


def test_a_code_in_a_few_clips_of_one_class_is_sure_enough():
    """Ten clips of ten that hold one class of eight, among codes that say nothing."""
    draw = np.random.default_rng(0)
    kind, codes = draw.integers(8, size=300), draw.integers(100, size=(300, 6))
    codes[np.flatnonzero(kind == 3)[:10], 1:3] = 100
    found = association({"a": codes}, StepLabel.of(kind, steps=6))
    assert found.by_class()[["class", "code", "clips"]].to_numpy().tolist() == [["3", 100, 10]]
    # by hand: each of ten clips holds the class, so the p-value is the tenth power of its mean share, times the tests
    assert found.frame().set_index("code").loc[100, "p"] == pytest.approx(
        found.codes.size * 8 * (kind == 3).mean() ** 10, rel=0.3
    )


def test_intervals_count_clips():
    codes, kind = np.zeros((12, 50), int), np.arange(12) % 2
    found = association({"a": codes}, StepLabel.of(kind, steps=50))
    assert found.purity[0] == 0.5
    assert found.low[0] < 0.26 and found.high[0] > 0.74  # 600 independent steps would give 0.46 to 0.54


def test_codes_in_few_clips_get_no_p_value():
    codes = np.zeros((20, 4), int)
    codes[:3] = 1
    kind = (np.arange(20) < 3).astype(int)
    label = StepLabel.of(kind, steps=4)
    few = association({"a": codes}, label, least_clips=5)
    assert (few.p_value[1] == 1).all() and few.purity[1] == 1
    assert association({"a": codes}, label, least_clips=3).p_value[1, 1] < 1
    assert "no p-value" in association({"a": codes}, label, least_clips=50).notes[0]


def test_information_between_codes_and_label_is_that_of_scikit_learn():
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    draw = np.random.default_rng(0)
    kind = draw.integers(5, size=(60, 4))
    codes = np.where(draw.random(kind.shape) < 0.5, kind, draw.integers(9, size=kind.shape))
    found = association({"a": codes}, StepLabel.of(kind))
    assert found.nmi == pytest.approx(normalized_mutual_info_score(kind.ravel(), codes.ravel()))
    assert found.ami == pytest.approx(adjusted_mutual_info_score(kind.ravel(), codes.ravel()), abs=1e-6)
    assert found.majority == pytest.approx(np.bincount(kind.ravel()).max() / kind.size)
    assert found.mean_purity.low > found.majority


def layers(clips=400, steps=6, seed=0):
    """Layer 1 tells the coarse class (0 to 3), and a label of 4 x 3 classes, fine within coarse."""
    draw = np.random.default_rng(seed)
    coarse, fine = draw.integers(4, size=clips), draw.integers(3, size=clips)
    first = spread(coarse, steps) * 5 + draw.integers(5, size=(clips, steps))
    return draw, first, fine, StepLabel.of(coarse * 3 + fine, "kind", steps=steps)


def test_a_layer_that_tells_the_rest_adds_all_of_it():
    draw, first, fine, label = layers()
    second = spread(fine) * 4 + draw.integers(4, size=first.shape)
    found = added_information({1: {"a": first}, 2: {"a": second}}, label)
    assert 1.5 < found.remaining < np.log2(3)
    assert found.information.high == pytest.approx(found.remaining)
    assert found.information.value > 0.9 * found.remaining and "layer 2 adds" in found.finding
    assert found.p_value < 1e-6 and found.given_information == pytest.approx(2, abs=0.1)
    assert (found.layer, found.given, found.label) == (2, (1,), "kind")


def test_a_layer_that_repeats_or_says_nothing_adds_nothing():
    draw, first, _, label = layers()
    copy = added_information({1: {"a": first}, 2: {"a": first}}, label)
    assert copy.information.value == 0 and copy.p_value == 1 and "not shown to add anything" in copy.finding
    p_values = []
    for _ in range(20):
        noise = spread(draw.integers(20, size=len(first)))  # sticks to the clip, as the label does
        found = added_information({1: {"a": first}, 2: {"a": noise}}, label, permutations=20)
        assert found.plug_in > 0.3 and found.information.low < 0.05  # the uncorrected value is all bias
        p_values.append(found.p_value)
    assert sum(p < 0.05 for p in p_values) <= 3


def test_the_estimate_is_near_what_many_clips_say():
    def estimate(clips, seed):
        draw = np.random.default_rng(seed)
        kind = draw.integers(4, size=clips)
        first = draw.integers(12, size=(clips, 6))
        hit = draw.random(first.shape) < 0.3
        second = np.where(hit, spread(kind) * 6, spread(draw.integers(24, size=clips)))
        return added_information({1: {"a": first}, 2: {"a": second}}, StepLabel.of(kind, steps=6), permutations=20)

    truth = estimate(30_000, 0).information.value
    few = [estimate(500, seed) for seed in range(1, 11)]
    assert np.mean([found.information.value for found in few]) == pytest.approx(truth, rel=0.15)
    assert sum(not found.information.excludes(truth) for found in few) >= 8
    assert all(abs(found.plug_in - truth) > abs(found.information.value - truth) for found in few)


def test_the_table_gives_the_same_as_its_arrays_and_seeds_reproduce(tables):
    table = tables["vq"]
    read = added_information(table, "speaker", layer=2, permutations=10)
    codes = {k: {m: table.code(k, m) for m in table.modalities} for k in (1, 2)}
    label = StepLabel.of(table.labels["speaker"], "speaker", table.label_info["speaker"].classes, steps=6)
    given = added_information(codes, label, layer=2, permutations=10)
    same = [found.frame().drop(columns="sample") for found in (read, given)]
    assert same[0].equals(same[1])
    np.testing.assert_array_equal(read.null, given.null)
    other = added_information(table, "speaker", layer=2, permutations=10, seed=1)
    assert other.plug_in == read.plug_in and (other.null != read.null).any()
    one = added_information(table, "speaker", layer=2, modality="first", permutations=2)
    assert (one.steps, one.modality, len(one.null)) == (
        int((table.labels["speaker"] >= 0).sum()) * 6,
        "first",
        2,
    )


def test_refusals_are_sentences(tables, write_table):
    codes = np.zeros((3, 2), int)
    label = StepLabel.of(np.arange(3), steps=2)
    bare = write_table({1: {"a": codes}, 2: {"a": codes}})
    cases = [
        ("this table has no labels", lambda: association(bare)),
        ("this table has no labels", lambda: added_information(bare)),
        ("found no label 'mood'", lambda: association(tables["vq"], "mood")),
        ("found no modality 'fourth'", lambda: association(tables["vq"], modality="fourth")),
        ("has no codes", lambda: association(tables["identity"])),
        ("give label=", lambda: association({"a": codes}, "event")),
        (r"of shape \(3, 2\) for codes \(3, 4\)", lambda: association({"a": np.zeros((3, 4), int)}, label)),
        ("no step has both", lambda: association({"a": codes}, StepLabel.of(np.full(3, -1), steps=2))),
        ("steps= as well", lambda: StepLabel.of(np.arange(3))),
        ("is constant", lambda: StepLabel.of(np.ones((3, 2)))),
        ("holds 3 categories but names only 2", lambda: StepLabel.of(np.arange(3), classes="uv", steps=2)),
        ("another layer to condition on", lambda: added_information(tables["vq"], layer=1)),
        ("another layer to condition on", lambda: added_information(tables["vq"], layer=2, given=(2,))),
        ("needs at least 1", lambda: added_information(tables["vq"], permutations=0)),
        (r"found layers \[1\], not a layer 2", lambda: added_information({1: {"a": codes}}, label)),
        (
            "fewer than 2 clips",
            lambda: added_information({1: {"a": codes[:1]}, 2: {"a": codes[:1]}}, StepLabel.of(codes[:1])),
        ),
    ]
    for words, call in cases:
        with pytest.raises(InspectionError, match=words):
            call()
