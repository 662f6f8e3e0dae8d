"""Intervals cover what they promise to cover, about as often as they promise."""

import numpy as np
import pytest

from srcid.statistics import bootstrap_weights, percentile_interval, t_interval


def test_the_t_interval_covers_the_mean_of_few_seeds():
    draw = np.random.default_rng(0)
    covered = [low <= 3 <= high for low, high in (t_interval(draw.normal(3, 2, 5), 0.9).ends for _ in range(1000))]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


def test_seeds_that_agree_give_no_width_and_a_single_seed_no_interval():
    assert t_interval(np.array([4.0, 4.0, 4.0])).ends == (4, 4)
    assert not t_interval(np.array([4.0])).known


def test_the_bootstrap_covers_an_accuracy_and_a_ratio():
    draw = np.random.default_rng(0)
    weights = bootstrap_weights(150, replicates=400)
    right = draw.random((300, 150)) < 0.7
    guesses = draw.integers(1, 6, (300, 150))  # hits among a random number of guesses a clip: a ratio of sums
    hits = draw.binomial(guesses, 0.6)
    for truth, part, whole in ((0.7, right, np.ones_like(right)), (0.6, hits, guesses)):
        covered = []
        for numerator, denominator in zip(part, whole, strict=True):
            low, high = percentile_interval((weights @ numerator) / (weights @ denominator), 0.9).ends
            covered.append(low <= truth <= high)
        assert np.mean(covered) == pytest.approx(0.9, abs=0.05)


def test_every_bootstrap_sample_has_as_many_clips_and_the_draw_repeats():
    weights = bootstrap_weights(37, replicates=50, seed=3)
    np.testing.assert_array_equal(weights.sum(1), 37)
    np.testing.assert_array_equal(weights, bootstrap_weights(37, replicates=50, seed=3))
    assert weights.std(0).min() > 0
