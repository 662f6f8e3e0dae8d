"""Results of probes and of retrieval say what their scores say."""

import subprocess
import sys

import numpy as np
import pytest

from srcid.evaluation.probes import fit_probes
from srcid.evaluation.results import share
from srcid.params import EvaluationParams
from srcid.statistics import t_interval
from tests.evaluation.fake import make_table


@pytest.fixture(scope="module")
def results():
    params = EvaluationParams(probe_seeds=3, probe_epochs=15, probe_lr=1e-2, probe_batch=40)
    return fit_probes(
        make_table(noise=0.4, modalities=("audio", "video", "text")), params, representations=("all", "only1")
    )


def test_the_summary_holds_means_and_both_intervals(results):
    summary = results.frame()
    assert len(summary) == len(results.scores) / 3
    row = summary.iloc[0]
    seeds = [
        s.score
        for s in results.select(task=row.task, representation=row.representation, train=row.train, test=row.test)
    ]
    assert row.score == pytest.approx(np.mean(seeds))
    assert (row.seed_low, row.seed_high) == pytest.approx(t_interval(seeds).ends)
    assert (summary.clip_low <= summary.score).all() and (summary.score <= summary.clip_high).all()
    # a proportion over 60 clips: the interval is about as wide as theory says
    width = 2 * 1.96 * 100 * np.sqrt(row.score / 100 * (1 - row.score / 100) / row.clips)
    assert row.clip_high - row.clip_low == pytest.approx(width, rel=0.3)


def test_the_summary_of_many_directions_resamples_equal_clips_at_once(results, monkeypatch):
    products, real = [], np.tensordot
    monkeypatch.setattr(np, "tensordot", lambda *a, **k: products.append(1) or real(*a, **k))
    monkeypatch.setattr(type(results), "select", None)  # a search through all scores for each direction is quadratic
    assert len(results.frame()) == 36 and len(products) == 1


def test_the_table_has_the_means_over_seeds_and_chance(results):
    table = results.table()
    assert list(table.index) == ["all", "only1", "chance"] and table.index.name == "representation"
    directions = list(table["classification"].columns)
    assert directions[0] == "audio → video" and directions[-3:] == ["text → text", "m → n", "m → m"]
    summary = results.frame()
    mine = summary[(summary.representation == "all") & ~summary.same]
    assert float(table.loc["all", ("average", "m → n")].split(" ± ")[0]) == pytest.approx(mine.score.mean(), abs=0.051)
    chance = results.chance["classification"]["accuracy"]
    assert float(table.loc["chance", ("classification", "audio → text")]) == pytest.approx(chance, abs=0.051)


def test_the_finding_has_means_and_intervals_of_the_first_representation(results):
    first = results.frame()[lambda f: (f.representation == "all") & (f.task == "localisation") & ~f.same]
    score, low, high = first[["score", "clip_low", "clip_high"]].mean()
    assert f"localisation {score:.0f} % [{low:.0f}, {high:.0f}] across modalities" in results.finding


def test_a_share_is_a_ratio_or_the_harmonic_mean_of_two():
    assert share(np.array([3, 4])) == 75 and share(np.array([0, 0])) == 0
    assert share(np.array([1, 2, 1, 1])) == pytest.approx(100 * 2 * 0.5 / 1.5)
    assert share(np.array([0, 2, 0, 1])) == 0


@pytest.fixture
def nothing():
    """Results of a table without a test split: no scores."""
    table = make_table()
    del table.splits["test"]
    return fit_probes(table, EvaluationParams(probe_seeds=1, probe_epochs=1))


def test_frames_of_no_scores_are_empty_and_have_their_columns_and_types(results, nothing):
    empty, full = nothing.frame(), results.frame()
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns[: len(empty.columns)])
    assert {name: t.kind for name, t in empty.dtypes.items() if t.kind != "O"} == {
        name: full[name].dtype.kind for name in empty.columns if full[name].dtype.kind in "bif"
    }
    assert len(empty.groupby(["task", "same", "representation"], sort=False)["score"].mean().unstack()) == 0
    assert nothing.table().shape == (0, 0) and nothing.finding == "No scores"


def test_importing_the_package_is_cheap():
    heavy = "('torch', 'pandas', 'scipy', 'plotly')"
    code = f"import sys, srcid.evaluation; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
