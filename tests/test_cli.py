"""The two command lines: ``python -m srcid`` and ``./lab``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from srcid import runs
from srcid.__main__ import MAIN_JOB, main
from tests.notebook_maker import make_notebook

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    for name in ("SRCID_RUN", "SRCID_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SRCID_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lab(*words, **environment):
    command = [shutil.which("bash"), str(ROOT / "lab"), *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_the_main_job_runs_its_notebooks_and_writes_one_report(project, capsys):
    first, second = MAIN_JOB
    make_notebook(
        project / "notebooks" / f"{first}.ipynb",
        "print('data is', data, fsdd)",
        parameters='data: str = "synthetic"\nfsdd: str = ""',
        title="The data",
    )
    make_notebook(
        project / "notebooks" / f"{second}.ipynb",
        "from srcid import runs\nfrom srcid.params import resolve",
        "run = runs.current('02_train', params=resolve(preset, seed=seed, **options))",
        "run.write('scores.json', {'accuracy': 0.5})\nprint('trained on', data)",
        title="The training",
    )
    recordings = project / "some" / "recordings"
    recordings.mkdir(parents=True)
    assert main(["lab", "data=digits", "fsdd=some/recordings", "epochs=2"]) == 0
    said = capsys.readouterr().out
    assert "== 01_data" in said and "== 02_train" in said and "done in" in said
    [report] = (project / "runs").glob("*.html")
    assert f"runs/{report.name}" in said
    text = report.read_text()
    assert f"data is digits {recordings}" in text and "trained on digits" in text
    assert "The data" in text and "The training" in text
    trained = runs.latest(second)
    assert trained.params["epochs"] == 2 and f"runs/{trained.name}" in said

    assert main(["runs"]) == 0
    assert "score/accuracy" in capsys.readouterr().out
    assert main(["runs", "--sort", "nothing"]) == 2
    assert main(["report", trained.name, "--to", "one.html", "--title", "One"]) == 0
    assert "trained on digits" in (project / "one.html").read_text()


def test_a_failing_notebook_exits_with_one(project, capsys):
    make_notebook(project / "notebooks" / "bad.ipynb", "1 / 0")
    assert main(["run", "bad"]) == 1
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "missing"], "there is no notebook 'missing'"),
        (["run", "tiny", "count"], "found 'count'; need name=value"),
        (["run", "tiny", "=3"], "found '=3'; need name=value"),
        (["run", "tiny", "count=1", "count=2"], "count given more than once"),
        (["run", "tiny", "cuont=1"], "did you mean 'count'?"),
        (["run", "tiny", "--name", "a/b"], "cannot name a run"),
        (["report", "nothing"], "no run folder"),
        (["lab", "data=digits"], "there is no notebook '01_data'"),
    ],
)
def test_mistakes_get_one_message_and_exit_two(project, capsys, words, message):
    make_notebook(project / "notebooks" / "tiny.ipynb")
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("srcid: ") and message in said.err and "Traceback" not in said.err
    assert not (project / "runs").exists()


def test_a_table_of_no_runs_says_so(project, capsys):
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == f"no runs in {project / 'runs'}\n"


def test_freezing_runs_the_notebook_and_keeps_the_pair_in_line(project, capsys):
    notebook = make_notebook(project / "notebooks" / "tiny.ipynb", "print('count is', count)")
    assert main(["freeze", "tiny"]) == 0
    assert "count is 3" in notebook.read_text() and "papermill" not in notebook.read_text()
    assert "print('count is', count)" in notebook.with_suffix(".py").read_text()
    first = notebook.read_bytes()
    assert main(["freeze", "notebooks/tiny.ipynb"]) == 0
    assert notebook.read_bytes() == first

    twin = notebook.with_suffix(".py")
    twin.write_text(twin.read_text().replace("count is", "the count is"))
    os.utime(twin, (notebook.stat().st_mtime + 5,) * 2)
    assert main(["freeze", "tiny"]) == 0
    assert "the count is 3" in notebook.read_text() and "the count is" in twin.read_text()


def test_python_dash_m_says_what_there_is():
    found = subprocess.run([sys.executable, "-m", "srcid", "--help"], capture_output=True, text=True, check=True)
    for command in ("lab", "run", "runs", "report", "freeze"):
        assert f"    {command} " in found.stdout


def test_lab_explains_itself_and_refuses_unknown_commands():
    assert "./lab run" in lab().stdout and lab().returncode == 0
    wrong = lab("rnu")
    assert wrong.returncode == 2 and "there is no command 'rnu'" in wrong.stderr


def test_lab_without_a_fit_python_says_what_it_needs(tmp_path):
    """A copy of the script with only an old Python on the path."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (
        "bash",
        "cat",
        "cksum",
        "dirname",
        "head",
        "tail",
        "sed",
        "sort",
        "tr",
        "grep",
        "rm",
        "paste",
        "uname",
    ):
        (tools / name).symlink_to(shutil.which(name))
    old = tools / "python3"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2' && exit 0\nexit 1\n")
    old.chmod(0o755)
    for name in ("lab", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    command = [str(tools / "bash"), str(tmp_path / "lab"), "run"]
    found = subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "found Python 3.9.2; need Python 3.11 or newer" in found.stderr
    assert not (tmp_path / ".venv").exists()
