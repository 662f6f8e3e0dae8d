"""Several runs at once: own scores are kept, what is missing is fitted, each with its run's settings."""

import numpy as np
import pandas as pd
import pytest

from srcid.evaluation.suite import fit_tasks, run_tasks, score_runs
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table

QUICK = EvaluationParams(probe_seeds=1, probe_epochs=4, probe_lr=1e-2, probe_batch=40)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    codes = {"deep": make_table(clips=200, noise=0.3, two_events=0.4), "flat": make_table(clips=200, noise=0.3)}
    codes["flat"].books = codes["flat"].books[:1]
    codes["flat"].layers = 1
    tasks = run_tasks(codes, "toy", {}, lambda name: None, tmp_path_factory.mktemp("codes"))
    about = pd.DataFrame({run: dict(method=f"{run} vq", seed=0, **QUICK.model_dump()) for run in codes}).T
    own = fit_tasks(tasks.tables["deep"].only("classification"), QUICK, ("all",)).frame()
    before = own.assign(run="deep", method="deep vq", seed=0, data="toy", score=12.5)
    stacks = []
    return before, tasks, *score_runs(before, about, tasks, ("all", "only1", "toc"), stacks.append), stacks


def test_what_runs_scored_themselves_is_kept_and_the_rest_is_fitted(scored):
    before, tasks, directions, fitted, stacks = scored
    deep = directions[directions["run"] == "deep"]
    own = deep[(deep["task"] == "classification") & (deep["representation"] == "all")]
    assert (own["score"] == 12.5).all() and len(own) == len(before)
    assert set(zip(deep["task"], deep["representation"], strict=True)) == {
        (task, name) for task in tasks.tables["deep"].tables for name in ("all", "only1", "toc")
    }
    assert not any(s.task == "classification" and s.representation == "all" for r in fitted["deep"] for s in r.scores)
    assert not any(stack == "deep: classification, all" for stack in stacks) and "deep: classification, toc" in stacks
    assert "data" not in directions and not directions["run"].isna().any()


def test_a_run_of_one_layer_has_no_layer_1_alone(scored):
    _, _, directions, _, stacks = scored
    assert set(directions.loc[directions["run"] == "flat", "representation"]) == {"all", "toc"}
    assert not any(stack.startswith("flat") and "only1" in stack for stack in stacks)
    assert set(directions.loc[directions["run"] == "flat", "method"]) == {"flat vq"}


def test_what_cannot_be_done_is_said_once_and_retrieval_reads_the_runs_own_table(scored):
    _, tasks, *_ = scored
    assert [note for note in tasks.notes if note.startswith("cross-dataset was left out")]  # flat: one class a clip
    assert len(set(tasks.notes)) == len(tasks.notes)
    [results] = tasks.retrieval("deep", ("all", "only1"))
    assert results.data == "toy" and len(results.scores) == 4
    assert np.isfinite([score.recall[1] for score in results.scores]).all()
