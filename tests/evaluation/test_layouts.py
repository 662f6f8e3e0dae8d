"""Tables II and III: our rows say what the scores say, the paper's carry a mark where the data are others."""

import numpy as np
import pandas as pd
import pytest

from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.retrieval import code_retrieval
from srcid.evaluation.suite import fit_tasks, task_tables
from srcid.evaluation.tables import OTHER_DATA, paper_scores, same_data, table_three, table_two
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table

OWN = dict.fromkeys(("classification", "localisation", "cross-dataset", "unpaired"), "digits")


def directions(modalities=("audio", "video", "text")):
    table = make_table(clips=240, noise=0.3, two_events=0.5, modalities=modalities)
    params = EvaluationParams(probe_seeds=2, probe_epochs=3, probe_lr=1e-2, probe_batch=40)
    runs = {f"run{seed}": fit_tasks(task_tables(table, "digits"), params, ("all", "only1", "toc")) for seed in range(2)}
    rows = [results.frame().assign(run=run, method="srcid vq", seed=int(run[-1])) for run, results in runs.items()]
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def long():
    return directions()


def test_table_two_has_our_rows_and_the_papers(long):
    costs = pd.DataFrame(np.array([[41.2, 0.5, 7.25]]), index=["srcid vq"], columns=pd.MultiIndex.from_tuples(
        [(name, "mean") for name in ("ms_per_step", "parameters", "bits")]))  # fmt: skip
    table = table_two(long, OWN, ("all", "only1", "toc"), costs=costs)
    assert list(table.loc["these runs"].index) == ["srcid vq (only1)", "srcid vq", "srcid vq (toc)", "chance"]
    assert list(table.loc["the paper"].index)[-1] == "SRCID"
    assert list(table["cost"].loc[("these runs", "srcid vq (toc)")]) == ["41", "0.50", "7.2"]
    assert table["cost", "bits a step"].loc[("these runs", "srcid vq (only1)")] == ""
    average = f"{paper_scores().loc['SRCID', ('average', 'm → n')]:.1f} {OTHER_DATA}"
    assert list(table.loc["these runs"]["average", "the paper"])[1:] == [average, average, ""]
    assert "No runs of CODIS, TURN, CMCM, DCID, CoDAAR." in table.attrs["note"]
    assert "open-set" not in " ".join(table.columns.get_level_values(0))
    (heading,) = [task for task in dict.fromkeys(table.columns.get_level_values(0)) if task.startswith("local")]
    assert heading == "localisation (digits; paper AVVP)"
    assert list(table[heading].columns) == ["video → audio", "audio → video", "m → n"]
    cell = table.loc[("these runs", "srcid vq"), (heading, "video → audio")]
    mine = long[(long.task == "localisation") & (long.representation == "all") & (long.train == "video")]
    assert float(cell.split()[0]) == pytest.approx(mine[mine.test == "audio"].score.mean(), abs=0.051)
    assert "±" in cell and "[" in cell
    theirs = table.loc[("the paper", "SRCID"), (heading, "audio → video")]
    assert theirs == f"{paper_scores().loc['SRCID', ('AVVP', 'A → V')]:.1f} {OTHER_DATA}"
    assert OTHER_DATA in table.attrs["note"]


def test_columns_of_the_same_data_stand_unmarked(long):
    table = table_two(long, {**OWN, "localisation": "AVVP"})
    paper = table.loc[("the paper", "SRCID")]
    assert paper["localisation", "video → audio"] == "72.1"
    assert paper["classification (digits; paper AVE)", "video → audio"] == f"49.2 {OTHER_DATA}"
    assert paper["average", "m → n"].endswith(OTHER_DATA)


@pytest.mark.parametrize(("task", "name", "same"), [
    ("classification", "ave", True), ("classification", "AVE", True), ("classification", "avvp", False),
    ("localisation", "AVVP", True), ("cross-dataset", "AVE / AVVP", True), ("cross-dataset", "AVVP / AVVP", False),
    ("unpaired", "ucf101 / vggsound", True), ("unpaired", "vggsound", False), ("classification", "digits", False),
    ("classification", "", False), ("classification", "my ave", False), ("strange", "ave", False),
])  # fmt: skip
def test_what_counts_as_the_papers_data(task, name, same):
    assert same_data(task, name) is same


def test_with_two_modalities_the_paper_s_directions_are_all():
    table = table_two(directions(("audio", "video")), OWN)
    tasks = table.columns.get_level_values(0)
    assert list(table[tasks[1]].columns) == ["video → audio", "audio → video"]
    assert list(table["average"].columns) == ["m → n", "the paper"]


def test_without_the_papers_modalities_means_are_compared(long):
    renamed = long.replace({"train": {"audio": "a", "video": "v"}, "test": {"audio": "a", "video": "v"}})
    table = table_two(renamed, OWN)
    (heading,) = [task for task in dict.fromkeys(table.columns.get_level_values(0)) if task.startswith("class")]
    assert list(table[heading].columns) == ["m → n"]
    printed = paper_scores().loc["DCID (VQ)", [("AVE", "V → A"), ("AVE", "A → V")]].mean()
    assert table.loc[("the paper", "DCID"), (heading, "m → n")] == f"{printed:.1f} {OTHER_DATA}"


def test_without_scores_across_modalities_there_is_no_table_two(long):
    for none in (long[long["same"].astype(bool)], long.iloc[:0]):
        table = table_two(none, OWN)
        assert table.empty and "across modalities, so there is no Table II" in table.attrs["note"]


def test_table_three_is_the_mean_of_both_directions():
    tables = [make_table(clips=200, steps=8, classes=6, noise=0.3, seed=seed) for seed in (0, 1)]
    results = [code_retrieval(table, data="clotho") for table in tables]
    single = table_three({"srcid vq": results[:1]})
    recalls = [s.recall[5] for s in results[0].scores if s.representation == "all"]
    cell = single.loc["srcid vq", ("clotho", "audio ↔ video", "R@5")]
    assert float(cell.split()[0]) == pytest.approx(np.mean(recalls), abs=0.051) and "±" not in cell
    low, high = (float(end) for end in cell.split(" ", 1)[1].strip("[]").split(", "))
    assert low <= np.mean(recalls) <= high
    assert list(single.index) == ["srcid vq", "srcid vq (only1)", "chance"]
    assert float(single.loc["chance", ("clotho", "audio ↔ video", "R@10")]) == pytest.approx(20)
    both = table_three({"srcid vq": results})
    assert "±" in both.loc["srcid vq", ("clotho", "audio ↔ video", "R@1")]
    assert "not at hand" in single.attrs["note"]
    with pytest.raises(EvaluationError, match="no retrieval scores"):
        table_three({})
    with pytest.raises(EvaluationError, match=r"need \[3\]"):
        table_three({"srcid vq": results}, cutoffs=(1, 3))


def test_tables_are_plain_text(long):
    rivals = long.assign(method="turn")
    mixed = table_two(pd.concat([long, rivals, long.assign(method="dcid rvq2")]), OWN)
    assert list(mixed.loc["these runs"].index)[:2] == ["turn", "srcid vq (only1)"]
    assert list(mixed.loc["these runs"].index)[-1] == "chance"
    for table in (mixed, table_three({"a": [code_retrieval(make_table(clips=40))]})):
        assert isinstance(table, pd.DataFrame)
        assert all(isinstance(cell, str) for row in table.to_numpy() for cell in row)
