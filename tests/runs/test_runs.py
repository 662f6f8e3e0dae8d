"""Run folders, their identity and table; parameter checks; headless execution."""

import asyncio
import datetime
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import jupyter_client
import nbformat
import numpy as np
import pytest

from srcid import runs
from srcid.features import FeatureStore
from srcid.params import ParameterError, Params, resolve
from srcid.runs.kernel import kernel_manager
from srcid.runs.notebooks import declared
from srcid.values import Word
from tests.notebook_maker import make_notebook

pytestmark = pytest.mark.usefixtures("project")


# --- places and identity ---


def test_home_is_the_nearest_folder_of_this_project(tmp_path, monkeypatch):
    monkeypatch.delenv("SRCID_HOME")
    inner = tmp_path / "project" / "other" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text('[project]\nname = "srcid"\n')
    (tmp_path / "project" / "other" / "pyproject.toml").write_text('[project]\nname = "another"\n')
    monkeypatch.chdir(inner)
    assert runs.home() == tmp_path / "project"
    assert runs.root() == tmp_path / "project" / "runs"
    monkeypatch.setenv("SRCID_RUNS", str(tmp_path / "elsewhere"))
    assert runs.root() == tmp_path / "elsewhere"


def test_home_without_a_project_is_here(tmp_path, monkeypatch):
    monkeypatch.delenv("SRCID_HOME")
    (tmp_path / "pyproject.toml").write_text("not = [toml")
    assert runs.home() == tmp_path


def test_identity_depends_on_notebook_parameters_data_and_code_and_on_nothing_else():
    params = {"lr": 0.1, "layers": 2}
    same = runs.identity("train", params, "abc", "1")
    assert same == runs.identity("train", dict(reversed(params.items())), "abc", "1")
    others = [
        runs.identity("look", params, "abc", "1"),
        runs.identity("train", params | {"lr": 0.2}, "abc", "1"),
        runs.identity("train", params, "abd", "1"),
        runs.identity("train", params, "abc", "2"),
    ]
    assert len({same, *others}) == 5
    assert runs.identity("train", params, "abc") == runs.identity("train", params, "abc", runs.code_version())
    assert runs.identity("train", resolve()) == runs.identity("train", resolve().model_dump())


def test_code_version_follows_the_sources(tmp_path):
    copy = tmp_path / "srcid"
    subprocess.run(["cp", "-r", str(Path(runs.__file__).parents[1]), str(copy)], check=True)

    def version():
        code = "from srcid import runs; print(runs.__file__, runs.code_version())"
        found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        where, version = found.stdout.split()
        assert Path(where).is_relative_to(tmp_path)
        return version

    before = version()
    assert before == version() == runs.code_version()
    (copy / "params" / "fields.py").write_text((copy / "params" / "fields.py").read_text() + "\n# another\n")
    assert version() != before


# --- folders ---


def test_the_same_request_opens_the_same_folder():
    run = runs.Run.create_or_open("a-run", "02_train", resolve(seed=3))
    assert (run.checkpoint.is_dir(), run.codes.is_dir(), run.figures.is_dir()) == (True, True, True)
    assert Params(**run.params) == resolve(seed=3)
    (run.checkpoint / "weights").write_text("kept")
    again = runs.Run.create_or_open("a-run", "02_train", resolve(seed=3))
    assert again == run and (again.checkpoint / "weights").read_text() == "kept"
    assert runs.Run.open("a-run") == runs.Run.open(run.folder) == run
    assert not [p for p in runs.root().iterdir() if p.name.startswith(".")]


def test_a_folder_of_another_run_is_refused():
    runs.Run.create_or_open("a-run", "02_train", resolve(seed=3))
    with pytest.raises(runs.RunError, match="belongs to another run"):
        runs.Run.create_or_open("a-run", "02_train", resolve(seed=4))
    with pytest.raises(runs.RunError, match="belongs to another run"):
        runs.Run.create_or_open("a-run", "02_train", resolve(seed=3), identifier="of other data")


BAD_NAMES = ["", "a/b", "../up", ".hidden", "with space", "x" * 300, "nul\0", "CON", "com1.txt", "\ud800", "end.", 3]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_bad_names_are_refused(name):
    with pytest.raises(runs.RunError, match="cannot name a run; need letters") as caught:
        runs.Run.create_or_open(name, "02_train", {})
    assert len(str(caught.value)) < 300
    assert not runs.root().exists()


def test_a_name_is_the_same_however_it_was_typed():
    composed, decomposed = "caf\u00e9{1}", "cafe\u0301{1}"
    made = runs.Run.create_or_open(decomposed, "02_train", {})
    assert made.name == composed and runs.Run.create_or_open(composed, "02_train", {}).folder == made.folder
    assert runs.Run.open(decomposed).folder == made.folder
    for name in ("x" * 300, "a\0b", "\ud800"):
        with pytest.raises(runs.RunError, match="there is no run"):
            runs.Run.open(name)


def test_foreign_damaged_and_later_folders_are_refused():
    (runs.root() / "foreign").mkdir(parents=True)
    with pytest.raises(runs.RunError, match="no run folder"):
        runs.Run.create_or_open("foreign", "02_train", {})
    run = runs.Run.create_or_open("later", "02_train", {})
    run.write("status.json", run.status | {"version": 99})
    with pytest.raises(runs.RunError, match="srcid-run 99"):
        runs.Run.open("later")
    (run.folder / "status.json").write_text('{"format": "srci')
    with pytest.raises(runs.RunError, match="damaged"):
        runs.Run.open("later")
    (run.folder / "status.json").write_text("[]")
    with pytest.raises(runs.RunError, match="found list, need an object"):
        runs.Run.open("later")
    for name in ("status.json", "params.json"):
        other = runs.Run.create_or_open(f"other-{name}", "02_train", {})
        (other.folder / name).write_bytes(b'{"format": "\xff\xfe"}')
        with pytest.raises(runs.RunError, match=rf"{name} is damaged \('utf-8' codec"):
            other.read(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": None}, "found status None, need a word"),
        ({"notebook": 3}, "found notebook 3, need a word"),
        ({"status": "finished", "ended": None}, "finished without a time"),
        ({"started": "yesterday"}, "found started 'yesterday', need a time"),
        ({"ended": 12}, "found ended 12, need a time"),
        ({"started": 0}, "found started 0, need a time"),
        ({"started": "2026-01-01T00:00"}, "found started '2026-01-01T00:00', need a time"),  # where?
        ({"values": ["seed"]}, r"found values \['seed'\], need them by name"),
    ],
)
def test_a_status_that_says_too_little_is_damaged(change, message):
    good = runs.Run.create_or_open("good", "02_train", {})
    good.finish()
    run = runs.Run.create_or_open("bad", "02_train", {})
    run.write("status.json", {k: v for k, v in (run.status | change).items() if v is not None})
    with pytest.raises(runs.RunError, match=message):
        runs.Run.open("bad")
    assert runs.latest("02_train") == good
    with pytest.warns(runs.RunWarning, match="bad left out"):
        assert list(runs.table().run) == ["good"]


def test_status_says_what_happened_and_when():
    run = runs.Run.create_or_open("a-run", "02_train", {})
    assert run.status["status"] == "created"
    run.mark("running")
    run.mark("failed", error="ValueError: no")
    assert (run.status["status"], run.status["error"]) == ("failed", "ValueError: no")
    assert run.status["created"] <= run.status["started"] <= run.status["ended"]
    run.finish()
    assert (run.status["status"], run.status["error"]) == ("finished", None)
    run.finish("stopped")  # as training says it
    assert run.status["status"] == "interrupted" and run.status["ended"]
    with pytest.raises(runs.RunError, match="found status 'done', need one of created, running, finished"):
        run.finish("done")


@pytest.mark.parametrize("name", ["params.json", "status.json", "scores.json", "figures/curve.json"])
def test_a_digit_that_became_another_one_is_told(name):
    run = runs.Run.create_or_open("a-run", "02_train", {"seed": 3})
    run.write("scores.json", {"accuracy": 33})
    run.write("figures/curve.json", {"figure": {"data": [{"y": [3, 3]}]}})
    said, seal = (run.folder / name).read_text().split('"sha256 of')
    (run.folder / name).write_text(
        '"sha256 of'.join([re.sub(r"\d", lambda m: str(9 - int(m[0])), said, count=1), seal])
    )
    with pytest.raises(runs.RunError, match=rf"{name} is damaged \(its checksum differs"):
        run.read(name)
    runs.Run.create_or_open("good", "02_train", {})
    if "figures" not in name:
        with pytest.warns(runs.RunWarning, match="a-run left out"):
            assert list(runs.table().run) == ["good"]


def test_parameters_of_another_run_are_refused_and_those_of_an_older_one_read():
    run, other = (runs.Run.create_or_open(name, "02_train", {"seed": name}) for name in "ab")
    (run.folder / "params.json").write_text((other.folder / "params.json").read_text())
    with pytest.raises(runs.RunError, match=r"params\.json is not that of this run"):
        _ = run.params
    (run.folder / "params.json").write_text(json.dumps({"seed": "older"}))
    with pytest.raises(runs.RunError, match=r"params\.json is damaged \(its checksum differs"):
        _ = run.params
    status = {k: v for k, v in run.status.items() if k != "params"}
    (run.folder / "status.json").write_text(json.dumps(status | {"version": 1}))  # which had no checksums
    assert run.params == {"seed": "older"} and run.status["notebook"] == "02_train"


def test_a_json_file_is_never_half_written():
    run = runs.Run.create_or_open("a-run", "02_train", {})
    run.write("scores.json", {"accuracy": 1})
    with pytest.raises(ValueError, match=r"found the key \('not', 'json'\); need text"):
        run.write("scores.json", {("not", "json"): 1})
    assert run.read("scores.json") == {"accuracy": 1}
    assert sorted(p.name for p in run.folder.iterdir() if p.is_file()) == [
        "params.json",
        "scores.json",
        "status.json",
    ]


def test_figures_come_back_as_they_were():
    import plotly.graph_objects as go

    run = runs.Run.create_or_open("a-run", "02_train", {})
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3.5, 4]), layout={"title": {"text": "curve"}})
    path = run.save_figure(figure, "curve")
    content = json.loads(path.read_text())
    assert (path, content["format"], content["name"]) == (run.figures / "curve.json", "srcid-figure", "curve")
    assert run.load_figure("curve").to_dict() == figure.to_dict()
    with pytest.raises(runs.RunError, match="a-run has no figure 'other'; there are curve"):
        run.load_figure("other")


# --- the run a notebook works in ---


def test_by_hand_a_notebook_finds_its_folder_again(tiny):
    store = SimpleNamespace(path=Path("data/stores/x"), checksum="c" * 64)
    names = dict(seed=2, data="synthetic", options={"layers": 1}, store=store, os=os)
    run = runs.current("tiny", names, store)
    assert run.name.startswith("tiny-demo-synthetic-s2-") and run.status["status"] == "running"
    assert run.read("store.json") == {"path": "data/stores/x", "checksum": "c" * 64}
    assert Params(**run.params) == resolve(seed=2, layers=1) and run.status["values"]["count"] == 3
    assert run == runs.current("tiny", names, store) == runs.current("tiny", names | {"preset": "demo+dcid"}, store)
    assert run != runs.current("tiny", names | {"count": 4}, store)
    with pytest.raises(ParameterError, match="seed=-1"):
        runs.current("tiny", {"seed": -1})
    store.checksum = "d" * 64
    with pytest.raises(runs.RunError, match="begun on other data"):
        runs.current("tiny", names, store)


def test_under_a_launcher_a_notebook_takes_the_launchers_folder(monkeypatch):
    made = runs.Run.create_or_open("made", "02_train", {"seed": 1})
    monkeypatch.setenv("SRCID_RUN", str(made.folder))
    store = SimpleNamespace(path=Path("s"), checksum="c" * 64)
    assert runs.current("02_train", {"seed": 1}, store) == made and runs.headless()
    assert made.status["checksum"] == "c" * 64 and made.params == {"seed": 1}
    store.checksum = "d" * 64
    with pytest.raises(runs.RunError, match="begun on other data"):
        runs.current("02_train", {"seed": 1}, store)


def test_latest_is_the_run_that_finished_last():
    with pytest.raises(runs.RunError, match="no finished run of 02_train"):
        runs.latest("02_train")
    first = runs.Run.create_or_open("z", "02_train", {"seed": 0})
    second = runs.Run.create_or_open("a", "02_train", {"seed": 1})
    runs.Run.create_or_open("m", "02_train", {"seed": 2}).mark("running")
    runs.Run.create_or_open("n", "01_data", {}).finish()
    first.finish()
    time.sleep(0.01)
    second.finish()
    assert runs.latest("02_train") == second


def test_a_run_that_vanishes_between_two_reads_is_passed_over(monkeypatch):
    import shutil

    for name in "ab":
        runs.Run.create_or_open(name, "02_train", {"seed": name}).finish()
    read = runs.Run.read

    def vanishing(run, name):
        if run.name == "b" and name == "params.json":
            shutil.rmtree(run.folder)
        return read(run, name)

    monkeypatch.setattr(runs.Run, "read", vanishing)
    assert runs.latest("02_train").name == "a" and list(runs.table().run) == ["a"]
    assert runs.table().attrs["skipped"] == {}


# --- table ---


def test_table_shows_status_scores_and_the_parameters_that_differ():
    first = runs.Run.create_or_open("a", "02_train", resolve(seed=0))
    first.mark("running")
    first.write("scores.json", {"accuracy": 0.5})
    first.finish()
    runs.Run.create_or_open("b", "02_train", resolve(seed=1, beta=0.5)).mark("running")
    table = runs.table().set_index("run")
    assert set(table.columns[4:]) == {"beta", "seed", "score/accuracy"} and len(table.columns) == 7
    assert list(table.status) == ["finished", "running"]
    assert list(table.seed) == [0, 1] and table.loc["a", "score/accuracy"] == 0.5
    assert table.loc["a", "seconds"] >= 0
    assert list(runs.table("01_data").index) == []


def test_a_parameter_named_like_a_column_hides_no_name_of_a_run():
    runs.Run.create_or_open("a", "04_codebook", {"run": ""})
    runs.Run.create_or_open("b", "04_codebook", {"run": "x"})
    runs.Run.create_or_open("c", "02_train", resolve())
    table = runs.table()
    assert sorted(table["run"]) == ["a", "b", "c"]
    assert dict(zip(table["run"], table["parameter/run"], strict=True)) == {"a": "", "b": "x", "c": None}


def test_table_compares_runs_of_the_same_notebook_only():
    runs.Run.create_or_open("a", "01_data", {"data": "synthetic", "row": 0})
    runs.Run.create_or_open("b", "02_train", resolve())
    assert list(runs.table().columns) == ["run", "notebook", "status", "started", "seconds"]
    runs.Run.create_or_open("c", "02_train", resolve(seed=1))
    table = runs.table().set_index("run")
    assert list(table.columns[4:]) == ["seed"]
    assert list(table.seed) == [None, 0, 1] and "1.0" not in table.to_string()
    older = resolve(seed=2).model_dump(mode="json")
    del older["beta"]
    runs.Run.create_or_open("d", "02_train", older)
    assert set(runs.table().columns[5:]) == {"beta", "seed"}


def test_table_reports_and_skips_what_is_no_run():
    runs.Run.create_or_open("good", "02_train", {})
    (runs.root() / "foreign").mkdir()
    (runs.Run.create_or_open("broken", "02_train", {}).folder / "status.json").write_text("[1]")
    bad = runs.Run.create_or_open("bad-scores", "02_train", {})
    (bad.folder / "scores.json").write_text("{")
    (runs.root() / "a-file.html").write_text("")
    with pytest.warns(runs.RunWarning) as warned:
        table = runs.table()
    assert list(table.run) == ["good"]
    assert set(table.attrs["skipped"]) == {"foreign", "broken", "bad-scores"} and len(warned) == 3


def test_a_run_whose_process_is_gone_is_interrupted():
    run = runs.Run.create_or_open("a", "02_train", {})
    run.mark("running")
    assert list(runs.table().status) == ["running"]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    run.write("status.json", run.status | {"pid": gone.pid})
    assert list(runs.table().status) == ["interrupted"]
    for nobody in (None, "abc", -1, 2**40, [1]):
        run.write("status.json", run.status | {"pid": nobody})
        assert list(runs.table().status) == ["interrupted"]


# --- parameters ---


def test_words_become_the_declared_types(tiny):
    words = dict(count="7", rate="1", quick="true", sizes="4,5", data="digits", seed="2")
    found = runs.check_parameters(tiny, {name: Word(text) for name, text in words.items()})
    assert found == dict(count=7, rate=1.0, quick=True, sizes=[4, 5], data="digits", seed=2)
    assert [type(found[n]) for n in ("count", "rate", "quick")] == [int, float, bool]


def test_a_default_may_hold_what_looks_like_an_assignment(tmp_path):
    import nbformat

    source = (
        'run: str = "02_train-lr=0.1"  # a=b\nrows = [\n    1,\n]\nratio: float = 1\nsize: int = len("=")\nrun.upper()'
    )
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    other = nbformat.v4.new_code_cell("no = 1")
    nbformat.write(nbformat.v4.new_notebook(cells=[other, cell]), tmp_path / "own.ipynb")
    assert declared(tmp_path / "own.ipynb") == dict(
        run=(str, "02_train-lr=0.1"), rows=(list, [1]), ratio=(float, 1), size=(int, None)
    )
    assert runs.check_parameters(tmp_path / "own.ipynb", {"run": ""}) == {"run": ""}
    cell.source = "run: str = 'open"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "own.ipynb")
    with pytest.raises(runs.RunError, match=r"own.ipynb: its parameters cell is no Python .SyntaxError"):
        runs.check_parameters(tmp_path / "own.ipynb", {})


def test_a_quantizer_with_stages_is_a_word_where_a_notebook_has_no_stages(tmp_path):
    cell = nbformat.v4.new_code_cell('quantizer: str = ""', metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "own.ipynb")
    assert runs.check_parameters(tmp_path / "own.ipynb", {"quantizer": "rvq3"}) == {"quantizer": "rvq3"}


def test_fields_of_params_go_into_options(tiny):
    words = {name: Word(text) for name, text in dict(beta="0.5", club_off="1,2", quantizer="rvq").items()}
    found = runs.check_parameters("tiny", dict(**words, cpc_horizon=2))
    assert found == {"options": {"beta": 0.5, "club_off": [1, 2], "quantizer": "rvq", "cpc_horizon": 2}}
    assert runs.check_parameters("tiny", {"options": Word('{"beta": 0.5}'), "lr": Word("0.1")}) == {
        "options": {"beta": 0.5, "lr": 0.1}
    }
    assert runs.check_parameters("tiny", {}) == {}
    assert runs.check_parameters("tiny", {"quantizer": "rvq3"}) == {"options": {"quantizer": "rvq", "stages": 3}}
    with pytest.raises(ParameterError, match="found stages beside quantizer=rvq3"):
        runs.check_parameters("tiny", {"quantizer": "rvq3", "stages": 2})


def test_all_problems_are_reported_at_once(tiny):
    values = dict(cuont=1, rate="fast", quick=3, bta=1, lr=0, seed=-1, options={"count": 2}, preset="demmo")
    with pytest.raises(ParameterError) as caught:
        runs.check_parameters("tiny", values)
    message = str(caught.value)
    for part in (
        "'cuont' is no parameter of tiny (did you mean 'count'?)",
        "'bta' is no parameter of tiny (did you mean 'beta'?)",
        "rate='fast': input should be a valid number",
        "quick=3: input should be a valid boolean",
        "lr=0: input should be greater than 0",
        "seed=-1: input should be greater than or equal to 0",
        "options names 'count', a parameter of the notebook itself",
        "preset 'demmo' is unknown (did you mean 'demo'?)",
    ):
        assert part in message
    assert message.count("\n  - ") == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 1.5), ("count", True), ("count", "1.5"), ("count", "3"), ("data", 3), ("options", "[1]"),
        ("rate", None), ("rate", True), ("quick", 0), ("quick", "true"), ("count", Word("1.5")), ("quick", Word("on!")),
        ("dim", "32"), ("beta", True), ("target_grad", 0), ("preset", 3),
    ],
)  # fmt: skip
def test_wrong_types_are_refused(tiny, name, value):
    with pytest.raises(ParameterError, match=f"{name}="):
        runs.check_parameters("tiny", {name: value})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("options", {"beta": datetime.date(2026, 1, 2)}, "found a date; need text, a number"),
        ("options", {1: 2}, "found the key 1; need text"),
        ("preset", b"demo", "found a bytes"),
        ("data", "\ud800", "no Unicode"),
        ("rate", float("nan"), "not finite"),
        ("count", 10**400, "2\\^63 or more"),
        ("sizes", {1, 2}, "found a set"),
        ("options", {"beta": object()}, "found a object"),
        ("options", functools.reduce(lambda inner, _: [inner], range(5000), []), "nested deeper"),
        ("options", Word(100_000 * "["), r"valid dictionary"),
    ],
    ids=map(str, range(10)),
)
def test_what_is_no_plain_value_is_refused_by_name_and_shortly(tiny, name, value, reason):
    with pytest.raises(ParameterError, match=rf"- {name}\b.*{reason}") as caught:
        runs.check_parameters("tiny", {name: value})
    assert len(str(caught.value)) < 300


def test_what_is_plain_arrives_as_json_has_it(tiny):
    given = {"sizes": (np.int64(1), 2), "rate": np.float32(0.5), "options": {"club_off": range(1, 3), "beta": 1}}
    found = runs.check_parameters("tiny", given)
    assert found == {"sizes": [1, 2], "rate": 0.5, "options": {"club_off": [1, 2], "beta": 1.0}}
    assert json.loads(json.dumps(found)) == found
    with pytest.raises(ParameterError, match="found 3 for parameters; need a dict"):
        runs.check_parameters("tiny", 3)
    with pytest.raises(ParameterError, match="1 is no parameter of tiny"):
        runs.check_parameters("tiny", {1: 2})
    with pytest.raises(ParameterError) as caught:
        runs.check_parameters("tiny", {"x" * 100_000: 1, "seed": "x" * 100_000})
    assert len(str(caught.value)) < 400
    for notebook in (3, "x" * 300, "a\0b", "\ud800"):
        with pytest.raises(runs.RunError):
            runs.check_parameters(notebook, {})


def test_rules_between_parameters_are_checked_too(tiny):
    with pytest.raises(ParameterError, match="dim=30 is not divisible by heads=4"):
        runs.check_parameters("tiny", {"dim": 30})


def test_a_notebook_without_options_takes_only_its_own_names(project):
    make_notebook(project / "notebooks" / "plain.ipynb", parameters='data: str = "x"\nfsdd: str = ""')
    with pytest.raises(ParameterError, match="'beta' is no parameter of plain"):
        runs.check_parameters("plain", {"beta": "0.5"})


def test_a_job_gives_each_notebook_what_it_has(project, tiny):
    make_notebook(project / "notebooks" / "plain.ipynb", parameters='data: str = "x"\nfsdd: str = ""')
    own = runs.check_job(["plain", "tiny"], dict(data="digits", fsdd="somewhere", seed=1, beta=0.5))
    assert own == [
        dict(data="digits", fsdd="somewhere"),
        dict(data="digits", seed=1, options={"beta": 0.5}),
    ]
    with pytest.raises(ParameterError, match=r"'fssd' is no parameter of plain or tiny \(did you mean 'fsdd'\?\)"):
        runs.check_job(["plain", "tiny"], dict(fssd="x"))


def test_relative_paths_survive_the_change_of_folder(project, tiny):
    (project / "recordings" / "all").mkdir(parents=True)
    assert runs.check_parameters("tiny", {"data": "recordings/all"}) == {"data": str(project / "recordings" / "all")}
    assert runs.check_parameters("tiny", {"data": "recordings"}) == {"data": "recordings"}


def data_notebook(project):
    parameters = 'data: str = "synthetic"\nfsdd: str = ""\ngenerator: dict = {}\nrow: int = 0'
    return make_notebook(project / "notebooks" / "reader.ipynb", parameters=parameters)


def test_data_are_checked_with_the_parameters(project):
    data_notebook(project)
    assert runs.check_parameters("reader", {"generator": Word('{"noise": 2}')}) == {"generator": {"noise": 2}}
    with pytest.raises(ParameterError) as caught:
        runs.check_parameters("reader", {"row": "x", "generator": {"nois": 2, "train": 0}})
    message = str(caught.value)
    assert "row='x'" in message and "did you mean 'noise'?" in message and "train=0" in message
    with pytest.raises(ParameterError, match=r"digits need recordings: found no 0_SPEAKER_0\.wav in nowhere"):
        runs.check_parameters("reader", {"data": "digits", "generator": {"fsdd": "nowhere"}})
    with pytest.raises(ParameterError, match=r"found 'synthetik', .*did you mean 'synthetic'\?"):
        runs.check_parameters("reader", {"data": "synthetik"})
    with pytest.raises(ParameterError, match=r"row=999999: these data have [\d,]+ clips; need 0 to \d+, or -1"):
        runs.check_parameters("reader", {"row": 999_999})
    assert runs.check_parameters("reader", {"row": 5, "generator": {"train": 4, "val": 1, "test": 1}})["row"] == 5
    with pytest.raises(ParameterError, match="row=6: these data have 6 clips"):
        runs.check_parameters("reader", {"row": 6, "generator": {"train": 4, "val": 1, "test": 1}})
    with pytest.raises(ParameterError, match="there are no such data"):
        runs.check_parameters("reader", {"data": "x" * 300})
    with pytest.raises(ParameterError) as caught:  # what could not be read is told once
        runs.check_parameters("reader", {"data": "digits", "generator": "[1]"})
    assert str(caught.value).count("\n  - ") == 1


def test_the_datas_folder_is_seen_from_here_or_from_the_notebook(project):
    data_notebook(project)
    here, there = project / "mine", project / "notebooks" / "beside"
    for path in (here, there):
        FeatureStore.create(path, {m: np.ones((2, 2, 1)) for m in "ab"}, splits={"all": [0, 1]})
    assert runs.check_parameters("reader", {"data": "mine"}) == {"data": str(here)}
    assert runs.check_parameters("reader", {"data": "beside"}) == {"data": "beside"}
    with pytest.raises(ParameterError, match="found options noise for the store"):
        runs.check_parameters("reader", {"data": "mine", "generator": {"noise": 1}})


def test_damaged_notebooks_are_named(project):
    for name, content in (("text", b"hello"), ("list", b"[]"), ("binary", b"\xff")):
        path = project / f"{name}.ipynb"
        path.write_bytes(content)
        with pytest.raises(runs.RunError, match=rf"{name}\.ipynb is no notebook, or a damaged one"):
            runs.check_parameters(path, {})


def test_notebooks_are_found_by_name_and_path(project, tiny, monkeypatch):
    for name in ("tiny", "tiny.ipynb", "notebooks/tiny.ipynb", "notebooks/tiny.py", tiny, str(tiny)):
        assert runs.find_notebook(name) == tiny
    with pytest.raises(runs.RunError, match=r"no notebook 'tinny' \(did you mean 'tiny'\?\)"):
        runs.find_notebook("tinny")


# --- executing (each starts a kernel) ---


def test_execute_keeps_everything_in_the_run_folder(project):
    make_notebook(
        project / "notebooks" / "whole.ipynb",
        "from srcid import runs\nfrom srcid.params import resolve\nimport os",
        "params = resolve(preset, seed=seed, **options)\nrun = runs.current('whole', globals())",
        "## Measuring",
        "run.write('scores.json', {'beta': params.beta, 'count': count})",
        "print(os.environ['PLOTLY_RENDERER'], os.path.basename(os.getcwd()), runs.headless(), sizes)",
        "import ipywidgets\nipywidgets.IntSlider()",
    )
    stream = io.StringIO()
    run = runs.execute("whole", {"count": Word("5"), "beta": 0.75, "sizes": Word("3,4")}, stream=stream)
    assert run.name.startswith("whole-demo-synthetic-s0-") and run.status["status"] == "finished"
    assert run.read("scores.json") == {"beta": 0.75, "count": 5}
    assert Params(**run.params) == resolve(beta=0.75)
    assert run.status["values"]["count"] == 5 and run.status["values"]["rate"] == 0.5
    text = run.notebook.read_text()
    assert "plotly_mimetype notebooks True [3, 4]" in text
    assert "application/vnd.jupyter.widget-state+json" not in text
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6 and all("/6  " in line and " s" in line for line in lines)
    assert sum("Measuring" in line for line in lines) == 3 and "\r" not in stream.getvalue()
    assert runs.execute("whole", {"sizes": (3, 4), "beta": 0.75, "count": 5}, stream=io.StringIO()) == run


def test_a_failing_cell_leaves_the_notebook_and_a_readable_error(project):
    make_notebook(project / "notebooks" / "bad.ipynb", "## Dividing", "1 / (count - 3)", "print('never')")
    stream = io.StringIO()
    with pytest.raises(runs.RunFailed) as caught:
        runs.execute("bad", run_name="mine", stream=stream)
    run = caught.value.run
    assert run.name == "mine" and run.status["status"] == "failed"
    assert run.status["error"] == "ZeroDivisionError: division by zero"
    message = str(caught.value)
    assert message.startswith("bad stopped in 'Dividing': ZeroDivisionError: division by zero")
    assert "1 / (count - 3)" in message and str(run.notebook) in message and "\x1b" not in message
    outputs = [o for c in nbformat.read(run.notebook, as_version=4).cells for o in c.get("outputs", [])]
    assert [o.ename for o in outputs if o.output_type == "error"] == ["ZeroDivisionError"]
    assert stream.getvalue().rstrip().endswith("FAILED")


def test_errors_that_srcid_raises_for_its_users_come_without_a_traceback(project):
    make_notebook(
        project / "notebooks" / "bad.ipynb",
        "## Opening",
        "from srcid.features import open_data\nopen_data('nowhere')",
    )
    with pytest.raises(runs.RunFailed) as caught:
        runs.execute("bad", run_name="mine", stream=io.StringIO())
    first, *rest = str(caught.value).splitlines()
    assert first == "bad stopped in 'Opening': StoreError: there are no such data:"
    assert len(rest) == 2 and "found 'nowhere', need" in rest[0] and str(caught.value.run.notebook) in rest[1]
    [cell] = [c for c in nbformat.read(caught.value.run.notebook, as_version=4).cells if "open_data" in c.source]
    assert "\n".join(cell.outputs[-1].traceback) == f"{cell.outputs[-1].ename}: {cell.outputs[-1].evalue}"


def test_a_bug_inside_srcid_keeps_its_traceback(project):
    make_notebook(project / "notebooks" / "bug.ipynb", "from srcid.params import suggest\nsuggest(3, [])")
    with pytest.raises(runs.RunFailed, match=r"section\.py:\d+, in suggest"):
        runs.execute("bug", stream=io.StringIO())


@pytest.mark.parametrize(("busy", "patience"), [(True, 60.0), (False, 2.0)])
def test_only_a_kernel_at_work_is_waited_for_at_the_end(project, monkeypatch, busy, patience):
    """One that has nothing to save may hang all the same, for a reason of its own."""
    waited = []

    async def finish(manager, **options):
        waited.append(manager.shutdown_wait_time)

    monkeypatch.setattr(jupyter_client.AsyncKernelManager, "shutdown_kernel", finish)
    manager = kernel_manager(project, {}, lambda: busy)(shutdown_wait_time=60.0)
    asyncio.run(manager.shutdown_kernel())
    assert waited == [patience]


def test_a_run_that_its_notebook_calls_stopped_stays_so(project):
    make_notebook(
        project / "notebooks" / "half.ipynb",
        "from srcid import runs",
        "runs.current('half', globals()).finish('stopped')",
    )
    run = runs.execute("half", stream=io.StringIO())
    assert run.status["status"] == "interrupted"
    with pytest.raises(runs.RunError, match="no finished run of half"):
        runs.latest("half")


def test_a_dying_kernel_ends_the_run(project):
    make_notebook(project / "notebooks" / "dead.ipynb", "import os\nos.write(2, b'last words')\nos._exit(9)")
    with pytest.raises(runs.RunFailed, match="the kernel died with exit status 9; what it said last") as caught:
        runs.execute("dead", stream=io.StringIO())
    assert caught.value.run.status["status"] == "failed" and "exit status 9" in caught.value.run.status["error"]
    assert "last words" in (caught.value.run.folder / "kernel.log").read_text()


def test_of_a_killed_kernel_the_signal_and_the_memory_are_told(project):
    make_notebook(project / "notebooks" / "killed.ipynb", "import os\nos.kill(os.getpid(), 9)")
    killed = r"the kernel died by signal SIGKILL, as .* out of memory .*at most [\d.]+ GB.* has [\d.]+ GB, of which"
    with pytest.raises(runs.RunFailed, match=killed):
        runs.execute("killed", stream=io.StringIO())


def test_order_and_duration_of_runs_do_not_follow_a_clock_that_is_set_back(monkeypatch):
    from srcid.runs import folders

    first, second = (runs.Run.create_or_open(name, "02_train", {}) for name in ("first", "second"))
    for run, begun, ended in ((first, "2026", "2026"), (second, "2026", "2020")):
        monkeypatch.setattr(folders, "_now", lambda year=begun: f"{year}-01-02T03:04:05+00:00")
        run.mark("running")
        monkeypatch.setattr(folders, "_now", lambda year=ended: f"{year}-01-02T03:04:05+00:00")
        run.finish()
    assert second.status["ended"] < first.status["ended"] and runs.latest("02_train") == second
    assert all(0 <= seconds < 60 for seconds in runs.table().seconds)
    second.write("status.json", {**second.status, "sequence": "last", "clock": "x", "seconds": "y"})
    assert runs.latest("02_train") == first and len(runs.table()) == 2
    second.mark("interrupted")
    assert second.status["seconds"] is None


def test_nothing_starts_when_a_parameter_is_wrong(project, tiny):
    with pytest.raises(ParameterError):
        runs.execute("tiny", {"count": "many"})
    assert not runs.root().exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_lets_the_kernel_save(project, how):
    make_notebook(
        project / "notebooks" / "slow.ipynb",
        "import os, pathlib, time\nrun = pathlib.Path(os.environ['SRCID_RUN'])",
        textwrap.dedent(
            """
            try:
                (run / "begun").write_text("")
                time.sleep(60)
            except KeyboardInterrupt:
                time.sleep(0.5)
                (run / "saved").write_text("")
                raise
            """
        ),
    )
    command = [sys.executable, "-m", "srcid", "run", "slow", "--name", "slow"]
    environment = {**os.environ, "SRCID_HOME": str(project)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder, patience = project / "runs" / "slow", time.monotonic() + 60
    while not (folder / "begun").exists():
        assert time.monotonic() < patience and process.poll() is None
        time.sleep(0.05)
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in error and "stopped" in error
    assert runs.Run.open(folder).status["status"] == "interrupted" and (folder / "saved").exists()


def test_plain_papermill_works_as_well(project):
    notebook = make_notebook(
        project / "notebooks" / "hand.ipynb",
        "from srcid import runs",
        "run = runs.current('hand', globals())",
        "run.finish()",
    )
    environment = {**os.environ, "SRCID_HOME": str(project)}
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(notebook),
        str(project / "out.ipynb"),
        "-p",
        "seed",
        "4",
    ]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert runs.latest("hand").name.startswith("hand-demo-synthetic-s4-")
    assert runs.latest("hand").params["seed"] == 4


def test_progress_tells_what_a_long_cell_says(tiny):
    stream = io.StringIO()
    book = nbformat.read(tiny, as_version=4)
    progress, cell = runs.Progress("tiny", book, stream), book.cells[-1]
    progress.cell_started(cell, 2)
    progress.write("step 1\n")
    assert stream.getvalue() == ""
    progress.patience = 0.0
    progress.write("step 2, 40 s left\nstep 3, 30 s left\n")
    assert stream.getvalue().rstrip().endswith("… step 3, 30 s left")
    progress.cell_ended(cell, 2, {"content": {"status": "ok"}})
    assert len(stream.getvalue().splitlines()) == 2
