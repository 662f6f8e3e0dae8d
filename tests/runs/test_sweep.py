"""Grids, sweeps on this machine and on a Dask cluster, and how they end."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest

from srcid import runs
from srcid.__main__ import main
from srcid.features import FeatureStore
from srcid.params import ParameterError
from srcid.runs import notebooks
from srcid.runs.cluster import Cluster
from srcid.runs.notebooks import read_notebook
from srcid.runs.requests import Busy, claimed, request
from srcid.runs.subprocess_run import Order
from srcid.values import Word
from tests.notebook_maker import make_notebook

pytestmark = pytest.mark.usefixtures("project")


# A notebook that keeps a diary in its run folder, waits for a file named go, and can be interrupted.
PATIENT = (
    "import os, pathlib, time\nrun = pathlib.Path(os.environ['SRCID_RUN'])\nproject = run.parents[1]",
    "def note(name, text):\n    with (run / name).open('a') as diary:\n        diary.write(f'{text}\\n')",
    # Noted where it can be interrupted: a signal that comes between two cells interrupts nothing.
    "try:\n    note('begun', os.getpid())\n    while not (project / 'go').exists():\n        time.sleep(0.02)\n"
    "except KeyboardInterrupt:\n    note('saved', os.getpid())\n    raise",
    "note('done', os.getpid())",
)


def diary(name):
    """What the patient runs have noted under this name, by the run's folder."""
    return {path.parent.name: path.read_text().split() for path in runs.root().glob(f"*/{name}")}


def until(what, patience=240):
    """Wait until ``what()`` is true, and return it."""
    end = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def started(*words):
    command = [sys.executable, "-m", "srcid", "sweep", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def of_the_project(project):
    """Processes that were started for runs of this project: their own, and kernels."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SRCID_RUNS") == str(project / "runs") and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


# --- the grid ---


def test_a_grid_is_every_combination_in_the_order_given():
    grid = runs.expand({"quantizer": "vq,rvq3,fsq", "seed": "0..1"})
    assert grid == [
        {"quantizer": "vq", "seed": "0"},
        {"quantizer": "vq", "seed": "1"},
        {"quantizer": "rvq", "stages": "3", "seed": "0"},
        {"quantizer": "rvq", "stages": "3", "seed": "1"},
        {"quantizer": "fsq", "seed": "0"},
        {"quantizer": "fsq", "seed": "1"},
    ]
    assert runs.expand({}) == [{}]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[],[1],[1,2]", ["[]", "[1]", "[1,2]"]),
        ('{"noise": 1, "steps": 4}, {"noise": 2}', ['{"noise": 1, "steps": 4}', '{"noise": 2}']),
        ("((1,2),3),4", ["((1,2),3)", "4"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("demo+dcid,demo+srcid", ["demo+dcid", "demo+srcid"]),
        ("0..2,7,-2..-1", ["0", "1", "2", "7", "-2", "-1"]),
        ("../data..x", ["../data..x"]),
        ("", [""]),
        ([1, 2], [1, 2]),
        ([[1], [1, 2]], [[1], [1, 2]]),
        (range(2), [0, 1]),
        (0.5, [0.5]),
        ({"noise": 1}, [{"noise": 1}]),
    ],
)
def test_one_name_has_several_values(text, values):
    assert [cell["name"] for cell in runs.expand({"name": text})] == values


def test_a_grid_that_cannot_be_read_tells_all_problems():
    values = dict(
        a="[1,2", b="1,2]", c="1,,2", d="4..0", e=[], f='"x', quantizer="vq,rvq2", stages="3", g="9..8," + 10**5 * "x"
    )
    with pytest.raises(ParameterError) as caught:
        runs.expand(values)
    message = str(caught.value)
    for part in (
        "a='[1,2': found no closing ]",
        "b='1,2]': found ']' that closes nothing",
        "c='1,,2': found nothing between two commas",
        "d='4..0': found 4..0; need the smaller number first",
        "'e' has no values",
        "f='\"x': found no closing \"",
        "found stages beside quantizer=rvq2",
        "xxx': found 9..8; need the smaller number first",
    ):
        assert part in message
    assert message.count("\n  - ") == 8 and len(message) < 800
    with pytest.raises(ParameterError, match="found 3 for a grid; need a dict"):
        runs.expand(3)


# --- before the first run ---


def test_all_is_checked_before_the_first_run_starts(project, tiny, monkeypatch):
    grid = dict(cuont=1, seed="0,-1,x", lr="0,0.1", preset="demo,demmo", quantizer="vq,rvq99")
    with pytest.raises(ParameterError) as caught:
        runs.sweep("tiny", grid)
    message = str(caught.value)
    for part in (
        "'cuont' is no parameter of tiny (did you mean 'count'?)",
        "seed=-1: input should be greater than or equal to 0",
        "seed='x'",
        "lr=0.0: input should be greater than 0",
        "preset 'demmo' is unknown",
        "stages=99: input should be less than or equal to 16",
    ):
        assert message.count(part) == 1, message
    with pytest.raises(ParameterError, match=r"^the grid has 100,000 runs; need 1,000 or fewer.*--most 100000"):
        runs.sweep("tiny", {"seed": "0..99999"})
    with pytest.raises(ParameterError, match="epochs='abc'"):  # told before thousands are looked at
        runs.sweep("tiny", {"seed": f"0..{10**15}", "epochs": "2,abc"}, most=10**18)
    read = []
    monkeypatch.setattr(notebooks, "read_notebook", lambda path: read.append(path) or read_notebook(path))
    with pytest.raises(ParameterError, match="seed='abc'"):
        runs.sweep("tiny", {"seed": "0..98,abc"})
    assert len(read) == 2  # once for a few of the runs, and for all of them
    with pytest.raises(ParameterError, match="found jobs=0, need 1 or more"):
        runs.sweep("tiny", {}, jobs=0)
    with pytest.raises(runs.RunError, match="there is no notebook 'tinny'"):
        runs.sweep("tinny", {})
    assert not runs.root().exists()


def test_what_is_finished_is_left_alone_and_what_is_there_twice_is_merged(tiny):
    grid = {"preset": "demo+dcid,demo+srcid", "layers": "2,1", "seed": "0,00,0"}
    for cell in runs.expand(grid):
        request("tiny", cell).open().finish()
    stream = io.StringIO()
    done = runs.sweep("tiny", grid, jobs=2, stream=stream)
    assert [(cell["preset"], cell["layers"]) for cell in done.grid] == [("demo+dcid", "2"), ("demo+dcid", "1")]
    assert [run.name for run in done.runs] == done.names == done.skipped and done.failed == {}
    assert [run.params["layers"] for run in done.runs] == [2, 1]
    assert done.notebook == tiny
    *merged, summary = stream.getvalue().splitlines()
    assert len(merged) == 10 and merged[:2] == [
        "merged: preset=demo+dcid layers=2 seed=00 is the same run as preset=demo+dcid layers=2 seed=0",
        "merged: preset=demo+dcid layers=2 seed=0 is there twice",
    ]
    assert "merged: preset=demo+srcid layers=1 seed=0 is the same run as preset=demo+dcid layers=1 seed=0" in merged
    assert summary == "tiny: 2 runs, 2 finished before, 0 to do"


def test_a_damaged_folder_stops_the_sweep_before_it_starts(tiny):
    run = request("tiny", {"seed": 1}).open()
    (run.folder / "status.json").write_text("{")
    with pytest.raises(runs.RunError, match=r"status\.json is damaged"):
        runs.sweep("tiny", {"seed": "0..1"})
    assert [path.name for path in runs.root().iterdir()] == [run.name]


# --- what a run is ---


def reader(project):
    parameters = 'data: str = "synthetic"\nseed: int = 0\ngenerator: dict = {}'
    make_notebook(project / "notebooks" / "reader.ipynb", parameters=parameters)


def test_a_run_is_the_same_before_and_after_its_data_are_made(project):
    reader(project)
    small = {"train": 8, "val": 4, "test": 4}
    before = request("reader", {"generator": small})
    runs.open_store("synthetic", small)
    assert request("reader", {"generator": Word(json.dumps(small))}).identity == before.identity
    assert request("reader", {"generator": small | {"train": 9}}).identity != before.identity


def test_other_data_at_the_same_place_make_another_run(project):
    reader(project)

    def identity(value):
        path = project / "mine"
        if path.exists():
            path.rename(project / f"old-{value}")
        FeatureStore.create(path, {m: np.full((2, 2, 1), value) for m in "ab"}, splits={"all": [0, 1]})
        return request("reader", {"data": "mine"}).identity

    first = identity(1.0)
    assert identity(2.0) != first and identity(1.0) == first


def test_a_run_that_is_looked_into_counts_by_what_it_is(project):
    make_notebook(project / "notebooks" / "look.ipynb", parameters='run: str = ""')
    found = []
    for seed in (0, 1, 0):
        trained = runs.Run.create_or_open("a-run", "02_train", {"seed": seed})
        found.append(request("look", {"run": "a-run"}).identity)
        trained.folder.rename(project / f"gone-{len(found)}")
    assert found[0] != found[1] and found[0] == found[2]


def test_a_run_belongs_to_one_process_at_a_time(tiny):
    run = request("tiny").open()
    with claimed(run):
        with pytest.raises(Busy, match="is being executed by another process"):
            runs.execute("tiny", stream=io.StringIO())
        assert run.status["status"] == "created"
    with claimed(run):
        pass


def test_a_kernel_left_behind_is_ended_and_nobody_elses_process(project):
    make_notebook(project / "notebooks" / "patient.ipynb", *PATIENT)
    command = [sys.executable, "-m", "srcid", "run", "patient", "--name", "mine"]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: diary("begun"))
    run = runs.Run.open("mine")
    kernel = psutil.Process(run.read("kernel.json")["pid"])
    assert kernel.pid == int(diary("begun")["mine"][0])
    kernel.suspend()  # so that it cannot notice by itself that its launcher is gone
    launcher.kill()
    launcher.wait()
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    bystander = subprocess.Popen(sleep, env=os.environ | {"SRCID_RUN": str(run.folder)})
    try:
        with claimed(run):
            assert not kernel.is_running() or kernel.status() == "zombie"
            assert bystander.poll() is None and not (run.folder / "kernel.json").exists()
        # a number that was given to another process since: began later, or is another program
        about = psutil.Process(bystander.pid)
        record = {
            "pid": about.pid,
            "started": about.create_time(),
            "command": about.cmdline(),
            "host": os.uname().nodename,
        }
        for change in (
            {"started": about.create_time() - 60},
            {"command": ["python"]},
            {"host": "another"},
            {"pid": "x"},
        ):
            run.write("kernel.json", record | change)
            with claimed(run):
                assert bystander.poll() is None
        run.write("kernel.json", record)
        with claimed(run):
            assert not about.is_running()
    finally:
        bystander.kill()
        bystander.wait()


# --- sweeps on this machine ---


def test_a_sweep_from_the_command_line_and_again(project, capsys):
    """Three runs, two at a time: one fails, the process of another is killed; then what failed is mended."""
    make_notebook(
        project / "notebooks" / "mixed.ipynb",
        *PATIENT[:2],
        "note('begun', os.getpid())",
        "## Dividing",
        "mended = (project / 'mended').exists()\nif count == 4 and not mended:\n    1 / 0",
        "if count == 5 and not mended:\n    os.kill(os.getppid(), 9)\n    time.sleep(60)",
        "note('threads', os.environ.get('OMP_NUM_THREADS'))\nnote('done', count)",
    )
    words = ["sweep", "mixed", "count=3..5", "preset=demo+dcid", "--jobs", "2"]
    assert main(words) == 1
    said = capsys.readouterr()
    first, *lines, empty, last = said.out.splitlines()
    assert first == "mixed: 3 runs, 0 finished before, 3 to do" and empty == ""
    assert last == "1 of 3 runs finished, in runs"
    assert [line.split()[0] for line in lines] == ["1/3", "2/3", "3/3"]
    assert sum("finished" in line for line in lines) == 1 and sum(" left" in line for line in lines) == 2
    assert any("failed" in line and "mixed stopped in 'Dividing': ZeroDivisionError" in line for line in lines)
    assert "its process ended by signal SIGKILL" in said.err and "1 / 0" in said.err
    assert sorted(runs.table().status) == ["failed", "finished", "interrupted"]
    before = diary("done")
    assert list(before.values()) == [["3"]]
    [[threads]] = diary("threads").values()
    assert 2 * int(threads) <= max(2, joblib.cpu_count())

    (project / "mended").touch()
    stream = io.StringIO()
    done = runs.sweep("mixed", {"count": "3..5", "preset": "demo+dcid"}, jobs=2, stream=stream)
    assert stream.getvalue().startswith("mixed: 3 runs, 1 finished before, 2 to do\n1/2  ")
    assert set(done.skipped) == set(before) and done.failed == {}
    assert [run.status["values"]["count"] for run in done.runs] == [3, 4, 5]
    assert sorted(diary("done").values()) == [["3"], ["4"], ["5"]]
    assert sorted(map(len, diary("begun").values())) == [1, 2, 2]

    assert main(["runs", "mixed", "--where", "count=4..5", "layers=1", "status=finished", "--sort", "run"]) == 0
    listed = capsys.readouterr().out
    assert all((run.name in listed) == (run.status["values"]["count"] in (4, 5)) for run in done.runs)
    assert main(["runs", "--where", "status=failed"]) == 0
    assert capsys.readouterr().out == f"no such runs in {project / 'runs'}\n"
    assert main(["runs", "--where", "cuont=4"]) == 2
    assert "no run has a parameter 'cuont' (did you mean 'count'?)" in capsys.readouterr().err


def test_a_stopped_or_killed_sweep_leaves_no_process_and_goes_on(project):
    make_notebook(project / "notebooks" / "patient.ipynb", *PATIENT)
    words = ("patient", "seed=0..1", "--jobs", "2")
    for number, how in enumerate((signal.SIGTERM, signal.SIGKILL), start=1):
        sweep = started(*words)
        until(lambda count=number: [len(pids) for pids in diary("begun").values()] == [count] * 2)
        kernels = [int(pids[-1]) for pids in diary("begun").values()]
        assert all(map(psutil.pid_exists, kernels))
        sweep.send_signal(how)
        _, err = sweep.communicate(timeout=240)
        if how == signal.SIGTERM:  # it waited for them
            assert sweep.returncode == 130 and "the same command continues" in err and "Traceback" not in err
            assert not any(map(psutil.pid_exists, kernels))
        until(lambda: not of_the_project(project))
        assert [len(pids) for pids in diary("saved").values()] == [number] * 2
        assert set(runs.table().status) == {"interrupted"} and diary("done") == {}
    (project / "go").touch()
    done = runs.sweep("patient", {"seed": "0..1"}, jobs=2, stream=io.StringIO())
    assert len(done.runs) == 2 and done.failed == {} and done.skipped == []
    assert [len(pids) for pids in diary("done").values()] == [1, 1]
    assert [len(pids) for pids in diary("begun").values()] == [3, 3]


def test_two_sweeps_at_once_share_the_work(project):
    make_notebook(project / "notebooks" / "patient.ipynb", *PATIENT)
    first, second = started("patient", "seed=0,1"), started("patient", "seed=1,0")
    until(lambda: len(diary("begun")) == 2)  # each has one, and nobody has that of the other
    (project / "go").touch()
    for sweep in (first, second):
        out, err = sweep.communicate(timeout=240)
        assert sweep.returncode == 0, err
        assert "2 of 2 runs finished" in out
    assert [len(pids) for pids in diary("begun").values()] == [1, 1]
    assert [len(pids) for pids in diary("done").values()] == [1, 1]


def test_code_that_changes_during_a_sweep_is_noticed(tiny, monkeypatch):
    monkeypatch.setattr(sys.modules["srcid.runs.folders"], "code_version", lambda: "0.0+other")
    monkeypatch.setattr(sys.modules["srcid.runs.sweep"], "code_version", lambda: "0.0+other")
    done = runs.sweep("tiny", {}, stream=io.StringIO())
    [error] = done.failed.values()
    assert error.startswith("the code of srcid is another one here (found 0.1.0+") and "need 0.0+other)" in error
    assert not done.runs


# --- on a Dask cluster ---


class ClusterOfTests:
    """A scheduler and its workers, each a process."""

    def __init__(self, folder):
        self.folder, self.file, self.processes = folder, folder / "scheduler.json", []
        self.start("scheduler", "--port", "0")
        until(lambda: self.file.exists() and self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, name, *words, **environment):
        words = ["--no-dashboard", "--scheduler-file", str(self.file), *words]
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *words]
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(subprocess.Popen(command, env=os.environ | environment, **quiet))

    def worker(self, **environment):
        self.start("worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(self.folder), **environment)

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait(30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two workers; yields the scheduler's address."""
    found = ClusterOfTests(tmp_path_factory.mktemp("cluster"))
    found.worker()
    found.worker()
    yield found.address
    found.close()


def test_workers_that_die_come_late_or_have_other_code(project, tmp_path_factory):
    """One of two dies; its run goes to one with other code that came later, which refuses, and back to the other."""
    make_notebook(project / "notebooks" / "patient.ipynb", *PATIENT)
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(Path(runs.__file__).parents[1], other / "srcid")
    with (other / "srcid" / "runs" / "subprocess_run.py").open("a") as file:
        file.write(f"open({str(other / 'asked')!r}, 'w').close()\n")
    cluster = ClusterOfTests(tmp_path_factory.mktemp("late"))
    try:
        cluster.worker()
        cluster.worker()
        sweep = started("patient", "seed=0,1", "--scheduler", cluster.address)
        until(lambda: len(diary("begun")) == 2)
        cluster.processes[1].kill()
        until(lambda: diary("saved"))
        cluster.worker(PYTHONPATH=str(other))
        until((other / "asked").exists)
        (project / "go").touch()
        out, err = sweep.communicate(timeout=240)
        assert sweep.returncode == 0 and "2 of 2 runs finished" in out, err
        assert [len(pids) for pids in diary("done").values()] == [1, 1]
        with Cluster(cluster.address) as workers, pytest.raises(runs.RunError, match=r"has code .*, need"):
            workers.check_workers(str(project))
    finally:
        cluster.close()


class Unreadable:
    """Something that a worker cannot read."""

    def __reduce__(self):
        return (int, ("no number",))


def test_runs_that_dask_gives_up_are_left_out(cluster):
    over = Order(name="over", parent_lock="nowhere", defaults={}, environment={})
    with Cluster(cluster) as workers:
        outcomes = list(workers.outcomes([over, Unreadable(), over]))
    assert [outcome["status"] for outcome in outcomes] == ["interrupted"] * 2


def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(project, cluster):
    make_notebook(project / "notebooks" / "patient.ipynb", *PATIENT)
    sweep = started("patient", "seed=0..2", "--scheduler", cluster)
    until(lambda: len(diary("begun")) == 2)
    lost = min(diary("begun"))
    kernel = psutil.Process(int(diary("begun")[lost][0]))
    worker = kernel.parent().parent()
    assert "dask_worker" in " ".join(worker.cmdline())
    worker.kill()
    until(lambda: lost in diary("saved"))  # the run noticed, and could save
    until(lambda: not kernel.is_running())
    (project / "go").touch()
    out, err = sweep.communicate(timeout=240)
    assert sweep.returncode == 0 and "3 of 3 runs finished" in out, err
    assert [len(pids) for pids in diary("done").values()] == [1] * 3
    assert {name: len(pids) for name, pids in diary("begun").items()} == {n: 1 + (n == lost) for n in diary("done")}
    assert set(runs.table().status) == {"finished"}


def test_a_cluster_that_is_not_there_is_told_of(tiny, monkeypatch):
    with pytest.raises(runs.RunError, match=r"found no Dask scheduler at 'tcp://127\.0\.0\.1:9'"):
        Cluster("tcp://127.0.0.1:9", patience=0.5)
    with pytest.raises(runs.RunError, match="'somewhere' is no address of a Dask scheduler"):
        runs.sweep("tiny", {}, scheduler="somewhere", stream=io.StringIO())
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(runs.RunError, match=r"found no package 'distributed', .* say \./lab install cluster"):
        runs.sweep("tiny", {}, scheduler="somewhere:8786", stream=io.StringIO())
    assert not list(runs.root().glob("*"))
