"""Tables say what the scores say."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from srcid.evaluation.probes import fit_probes
from srcid.evaluation.retrieval import code_retrieval
from srcid.evaluation.tables import paper_table, probe_frame, probe_summary, retrieval_frame
from srcid.params import EvaluationParams
from srcid.statistics import t_interval
from tests.evaluation.fake import make_table


@pytest.fixture(scope="module")
def results():
    params = EvaluationParams(probe_seeds=3, probe_epochs=15, probe_lr=1e-2, probe_batch=40)
    return fit_probes(
        make_table(noise=0.4, modalities=("audio", "video", "text")), params, representations=("all", "only1")
    )


def test_the_long_frame_has_a_row_per_score(results):
    frame = probe_frame(results)
    assert len(frame) == len(results.scores) == 2 * 2 * 3 * 3 * 3
    assert frame["same"].sum() == len(frame) / 3
    row = frame[frame.task == "localisation"].iloc[0]
    assert row.score == row.precision


def test_the_summary_holds_means_and_both_intervals(results):
    summary = probe_summary(results)
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
    assert len(probe_summary(results)) == 36 and len(products) == 1


def test_the_paper_layout(results):
    table = paper_table(results, interval="none")
    assert list(table.index) == ["all", "only1", "chance"]
    directions = list(table["classification"].columns)
    assert len(directions) == 9
    assert directions[0] == "audio → video" and directions[-1] == "text → text"
    summary = probe_summary(results)
    mine = summary[(summary.representation == "all") & ~summary.same]
    assert float(table.loc["all", ("average", "cross-modal")]) == pytest.approx(mine.score.mean(), abs=0.051)
    chance = results.chance["classification"]["accuracy"]
    assert float(table.loc["chance", ("classification", "audio → text")]) == pytest.approx(chance, abs=0.051)


def test_intervals_are_printed_as_asked(results):
    cell = ("average", "cross-modal")
    seeds, clips, both = (paper_table(results, interval=i).loc["all", cell] for i in ("seeds", "clips", "both"))
    assert "±" in seeds and "[" not in seeds
    assert "[" in clips and "±" not in clips
    assert "±" in both and "[" in both


def test_runs_stand_below_each_other_and_missing_cells_stay_empty(results):
    single = fit_probes(make_table(), EvaluationParams(probe_seeds=1, probe_epochs=2), ("classification",), ("only1",))
    table = paper_table({"srcid": results, "dcid": single})
    assert list(table.index.get_level_values("run").unique()) == ["srcid", "dcid"]
    assert table.loc[("dcid", "only1"), ("localisation", "audio → video")] == ""
    assert "±" not in table.loc[("dcid", "only1"), ("classification", "audio → video")]
    assert table.loc[("dcid", "chance"), ("localisation", "audio → video")] == ""


@pytest.fixture
def nothing():
    """Results of a table without a test split: no scores."""
    table = make_table()
    del table.splits["test"]
    return fit_probes(table, EvaluationParams(probe_seeds=1, probe_epochs=1))


@pytest.mark.parametrize("frame", [probe_frame, probe_summary])
def test_frames_of_no_scores_are_empty_and_have_their_columns_and_types(results, nothing, frame):
    empty, full = frame(nothing), frame(results)
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns[: len(empty.columns)])
    assert {name: t.kind for name, t in empty.dtypes.items() if t.kind != "O"} == {
        name: full[name].dtype.kind for name in empty.columns if full[name].dtype.kind in "bif"
    }
    grouped = empty.groupby(["task", "same", "representation"], sort=False)["score"].mean().unstack()
    assert len(grouped) == 0 and empty["score"].between(0, 100).all()


def test_the_paper_layout_of_no_scores_is_empty(results, nothing):
    table = paper_table(nothing)
    assert table.shape == (0, 0)
    assert list(table.columns.names) == ["task", "direction"] and table.index.name == "representation"
    assert paper_table({"a": nothing, "b": nothing}).index.names == ["run", "representation"]
    beside = paper_table({"srcid": results, "none": nothing})
    assert set(beside.loc[("none", "chance")]) == {""}
    pd.testing.assert_frame_equal(beside.loc["srcid"], paper_table(results))


def test_retrieval_in_rows():
    frame = retrieval_frame(code_retrieval(make_table(clips=80), ("all", "only1")))
    assert list(zip(frame["query"], frame["target"], strict=True)) == [("audio", "video"), ("video", "audio")] * 2
    assert (frame["R@1"] <= frame["R@10"]).all()


def test_importing_the_package_is_cheap():
    heavy = "('torch', 'pandas', 'scipy', 'plotly')"
    code = f"import sys, srcid.evaluation; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
