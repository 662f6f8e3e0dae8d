"""Finished runs are read back whole, under labels that say what differs; everything else is left out and named."""

import math
import subprocess
import sys

import pytest

from srcid import runs
from srcid.evaluation.comparison import score_matrix
from srcid.files import digest
from srcid.params import resolve
from srcid.runs.pictures import PictureError, markdown_page


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for name in ("SRCID_RUN", "SRCID_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SRCID_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def make_run(name, preset="demo+dcid", seed=0, data="toy", checksum="abcdef123456", code=None, notebook="02_train",
             finish=True, declared=True, **options):  # fmt: skip
    params = resolve(preset, seed=seed, **options)
    values = dict(data=data, preset=preset) if declared else {}
    run = runs.Run.create_or_open(name, notebook, params, values=values)
    rows = [
        dict(run="", task="classification", representation="all", train=a, test=b, same=a == b, metric="accuracy",
             score=50.0 + seed, seed_low=math.nan, seed_high=math.nan, clip_low=40.0, clip_high=60.0, seeds=1, clips=9,
             chance=10.0)
        for a in ("x", "y") for b in ("x", "y")
    ]  # fmt: skip
    run.write("probes.json", {"directions": rows})
    run.write("cost.json", {"parameters": 5, "ms_per_step": 2.5, "note": "not a number"})
    run.write("store.json", {"path": f"/somewhere/{data}-1", "checksum": checksum})
    run.write("status.json", run.status | {"checksum": checksum} | ({"code": code} if code else {}))
    if finish:
        run.finish()
    return run


def label(**options):
    """Label of a run beside a plain one."""
    make_run("plain", preset="demo", quantizer="fsq")
    make_run("other", **options)
    return runs.collect().params.loc["other", "method"]


def test_scores_parameters_and_costs_of_finished_runs_are_collected(root):
    for seed in (1, 0):
        make_run(f"vq-{seed}", seed=seed)
    make_run("rvq-0", quantizer="rvq", stages=3)
    found = runs.collect()
    assert list(found.params.index) == ["vq-0", "vq-1", "rvq-0"]
    assert list(found.params["method"]) == ["dcid vq", "dcid vq", "dcid rvq3"]
    assert found.params.loc["rvq-0", "stages"] == 3 and found.params.loc["vq-0", "club_off"] == []
    assert list(found.params["vectors"]) == [48, 48, 144]
    assert len(found.directions) == 12
    assert set(found.directions["run"]) == set(found.params.index) and set(found.directions["data"]) == {"toy abcdef12"}
    assert found.costs.loc["vq-1"].to_dict() == {"parameters": 5, "ms_per_step": 2.5}
    assert found.codes["vq-0"] == root / "vq-0" / "codes"
    assert found.versions == {runs.code_version(): 3} and found.skipped == {} and found.common == {}
    assert found.source == f"3 runs on data toy abcdef12, seeds 0, 1, code {runs.code_version()} (3)."
    assert "dcid vq (2), dcid rvq3 (1)" in found.summary
    assert score_matrix(found.directions).loc[("dcid vq", 1, "vq-1")]["average", "m → n"] == 51


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(), "dcid vq"),
        (dict(quantizer="rvq", stages=4), "dcid rvq4"),
        (dict(quantizer="rvq", stages=2, codebook_size=100), "dcid rvq2, L=100"),
        (dict(quantizer="identity", codebook_size=7), "dcid identity"),
        (dict(preset="demo+srcid"), "srcid vq"),
        (dict(preset="demo+srcid", declared=False), "srcid vq"),
        (dict(preset="demo", layers=3), "K3 vq"),
        (dict(preset="demo+cmcm"), "cmcm vq"),
        (dict(preset="demo+srcid", club_off=(1, 2)), "srcid vq, club_off=[1,2]"),
        (dict(preset="paper+dcid"), "dcid vq"),
        (dict(preset="paper", declared=False, dim=128), "srcid vq, D=128"),
        (dict(threads=7, keep_features=3), "dcid vq"),
        (dict(lr=0.5), "dcid vq, lr=0.5"),
        (dict(preset="demo+dcid+no-cmcm"), "dcid vq, cmcm_weight=0.0"),
        (dict(preset="no-cmcm"), "srcid vq, cmcm_weight=0.0"),
        (dict(preset="demo+no-club2"), "srcid vq, club_off=[2]"),
        (dict(preset="demo+turn"), "turn"),
        (dict(preset="demo+codis", codis_queue=7), "codis, codis_queue=7"),
        (dict(preset="demo+codaar"), "codaar"),
    ],
)
def test_labels_say_layers_quantiser_and_what_differs_from_the_preset(options, expected):
    assert label(**options) == expected


def test_methods_are_chosen_by_label_and_a_run_by_name_or_folder(root):
    for name, quantizer in (("a", "vq"), ("b", "fsq"), ("c", "identity")):
        make_run(name, quantizer=quantizer)
    found = runs.collect()
    some = found.only(["dcid fsq", "dcid vq"])
    assert list(some.params["method"]) == ["dcid fsq", "dcid vq"] and set(some.directions["run"]) == {"a", "b"}
    assert list(some.codes) == ["b", "a"] and list(found.only([]).params.index) == list(found.params.index)
    with pytest.raises(runs.RunError, match=r"'dcid fqs'.*did you mean 'dcid fsq'"):
        found.only(["dcid fqs"])
    assert found.closest(str(root / "b")) == found.closest("b") == "b"
    assert found.closest("", "dcid vq") == "a" and found.closest("nowhere") == found.params.index[-1]


def test_what_all_runs_share_is_said_once():
    make_run("a", epochs=3)
    make_run("b", epochs=3, quantizer="fsq", lr=0.5)
    found = runs.collect()
    assert list(found.params["method"]) == ["dcid vq", "dcid fsq, lr=0.5"]
    assert found.common == {"epochs": 3} and found.summary.endswith("All with epochs=3.")


def test_families_and_plain_leave_out_sizes_and_clubs_layers():
    make_run("a", preset="demo+srcid")
    make_run("b", preset="demo+srcid", codebook_size=50)
    make_run("c", preset="demo+srcid", club_off=(1,))
    make_run("d", preset="demo+srcid", lr=0.5)
    found = runs.collect()
    assert list(found.params["method"]) == ["srcid vq", "srcid vq, L=50", "srcid vq, club_off=[1]", "srcid vq, lr=0.5"]
    assert list(found.params["family"]) == ["srcid vq"] * 3 + ["srcid vq, lr=0.5"]
    assert list(dict.fromkeys(found.plain["run"])) == ["a", "d"]


def test_what_cannot_be_read_is_left_out_with_the_reason(root):
    make_run("good")
    make_run("begun", quantizer="fsq", finish=False)
    make_run("torn", quantizer="fsq").write("probes.json", {"directions": [{"task": "classification"}]})
    broken = make_run("broken", quantizer="fsq")
    (broken.folder / "cost.json").write_text("{")
    gone = make_run("gone", quantizer="fsq")
    (gone.folder / "probes.json").unlink()
    make_run("other", notebook="01_data")
    make_run("number", quantizer="fsq").write("probes.json", {"directions": [3]})
    scores = [dict.fromkeys(("task", "representation", "train", "test", "same", "metric"), "") | {"score": "much"}]
    make_run("word", quantizer="fsq").write("probes.json", {"directions": scores})
    nonsense = make_run("nonsense", quantizer="fsq")
    params = nonsense.params | {"turn_level": ""}
    nonsense.write("params.json", params)
    nonsense.write("status.json", nonsense.status | {"params": digest(params)})
    (root / "stranger").mkdir()
    (root / ".hidden").mkdir()
    found = runs.collect()
    assert list(found.params.index) == ["good"]
    assert found.skipped.keys() == {"begun", "torn", "broken", "gone", "stranger", "number", "word", "nonsense"}
    assert "no list of directions" in found.skipped["number"] and "score 'much'" in found.skipped["word"]
    assert "turn_level=''" in found.skipped["nonsense"]
    assert found.skipped["begun"] == "is created, not finished"
    assert "no representation" in found.skipped["torn"] and "cost.json is damaged" in found.skipped["broken"]
    assert "no probes.json" in found.skipped["gone"] and "no status.json" in found.skipped["stranger"]


def test_a_run_without_labels_has_no_scores_and_is_there_all_the_same(root):
    make_run("bare").write("probes.json", {"directions": []})
    found = runs.collect()
    assert list(found.params.index) == ["bare"] and not found.skipped and found.costs.loc["bare", "parameters"] == 5
    assert not len(found.directions) and {"task", "train", "test", "score"} <= set(found.directions)


def test_of_equal_runs_the_newest_counts_and_code_versions_are_told():
    for name, code in (("old", "0.1"), ("new", "0.2")):
        make_run(name, code=code)
    make_run("seed1", seed=1, code="0.1")
    found = runs.collect()
    assert list(found.params.index) == ["new", "seed1"]
    assert found.skipped == {"old": "is older than new, which has the same method, seed and data"}
    assert found.versions == {"0.2": 1, "0.1": 1} and "0.2 (1), 0.1 (1)" in found.source


def test_one_data_set_is_read_the_largest_or_the_one_named():
    make_run("a")
    make_run("b", seed=1)
    make_run("c", data="sounds", checksum="99887766")
    assert list(runs.collect().params.index) == ["a", "b"]
    assert runs.collect().skipped["c"] == "read other data: sounds 99887766, not toy abcdef12"
    assert list(runs.collect(data="9988").params.index) == ["c"]
    assert set(runs.collect(data="sounds").skipped) == {"a", "b"}
    make_run("d", data="sounds", checksum="11111111")
    with pytest.raises(runs.RunError, match="several data sets called 'sounds'"):
        runs.collect(data="sounds")


def test_runs_may_be_given_themselves_or_lie_elsewhere(root, tmp_path):
    first, _ = make_run("a"), make_run("b", seed=1)
    assert list(runs.collect([first]).params.index) == ["a"]
    root.rename(tmp_path / "moved")
    assert list(runs.collect("moved").params.index) == ["a", "b"]
    with pytest.raises(runs.RunError, match="no folder"):
        runs.collect("nowhere")


def test_nothing_to_compare_says_what_to_run_and_why_not(root):
    make_run("begun", finish=False)
    with pytest.raises(runs.RunError, match=r"(?s)python -m srcid sweep 02_train.*begun: is created, not finished"):
        runs.collect()


def test_runs_made_elsewhere_are_out_of_sight(root):
    make_run("here")
    with runs.elsewhere(".apart") as folder:
        assert folder == runs.root() == root / ".apart"
        make_run("there", seed=1)
    assert runs.root() == root
    assert list(runs.table()["run"]) == ["here"] and runs.latest("02_train").name == "here"
    assert list(runs.collect(".apart").params.index) == ["there"]


def test_reading_results_needs_no_pandas_until_asked():
    code = "import sys, srcid.runs; print([m for m in ('pandas', 'torch', 'plotly') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_page_holds_text_tables_and_links_to_its_pictures(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({("", "seeds"): [5, 3], ("average", "m → n"): ["1|2", None]}, index=["vq", "fsq"])
    [page] = markdown_page(tmp_path / "docs" / "page.md", ["# Title\n", frame, "Last."])
    assert page.read_text().split("\n\n") == [
        "# Title",
        "|  | seeds | average m → n |\n|---|---|---|\n| vq | 5 | 1/2 |\n| fsq | 3 |  |",
        "Last.\n",
    ]
    with pytest.raises(PictureError, match=r"found a int on page\.md"):
        markdown_page(tmp_path / "page.md", [3])
    assert not (tmp_path / "page.md").exists()
