"""The command lines: ``python -m srcid``, ``./lab`` and ``.ci/run``."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from srcid import runs
from srcid.__main__ import MAIN_JOB, main
from srcid.files import DiskError
from srcid.params import resolve
from srcid.runs.folders import Run
from tests.notebook_maker import make_notebook

LONG = "x" * 300
ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("project")


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
        "from srcid import runs",
        "run = runs.current('02_train', globals())",
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


def test_data_that_cannot_be_opened_are_refused_before_anything_starts(project, capsys):
    parameters = 'data: str = "synthetic"\nfsdd: str = ""\ngenerator: dict = {}'
    for name in MAIN_JOB:
        make_notebook(project / "notebooks" / f"{name}.ipynb", parameters=parameters)
    for words, message in (
        (["data=digits", "fsdd=nowhere"], "found no 0_SPEAKER_0.wav in nowhere"),
        (["data=/nonexist"], "found '/nonexist', need the folder of a store"),
        (['generator={"nois": 2, "train": 0}'], "'nois' is no parameter (did you mean 'noise'?)"),
    ):
        assert main(["lab", *words]) == 2
        said = capsys.readouterr()
        assert message in said.err and said.err.count(message) == 1 and said.out == ""
    assert not (project / "runs").exists() and not (project / "data").exists()


def test_reports_of_what_is_not_there_say_what_is_missing(project, capsys):
    made = runs.Run.create_or_open("by-hand", "02_train", {})
    (project / "text.ipynb").write_text("no JSON")
    for words, message in (
        (["nothing.ipynb"], "found no notebook nothing.ipynb"),
        (["text.ipynb"], "text.ipynb is no notebook, or a damaged one"),
        (["by-hand"], f"{made.folder} (created) has no executed notebook"),
    ):
        assert main(["report", *words, "--to", "report.html"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("srcid: ") and message in said and "Traceback" not in said
    assert main(["run", "text.ipynb"]) == 2
    assert "text.ipynb is no notebook, or a damaged one" in capsys.readouterr().err
    assert not (project / "report.html").exists()


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
        (["run", "tiny", "count=1", "count=2"], "'count' given more than once"),
        (["run", "tiny", "cuont=1"], "did you mean 'count'?"),
        (["run", "tiny", "--name", "a/b"], "cannot name a run"),
        (["report", "nothing"], "there is no run 'nothing'; there are none"),
        (["lab", "data=digits"], "there is no notebook '01_data'"),
        (["run", "."], "there is no notebook '.'"),
        (["run", LONG], "there is no notebook 'xxx"),
        (["run", "tiny", "--name", LONG], "cannot name a run"),
        (["run", "tiny", f"{LONG}=1"], "is no parameter of tiny"),
        (["run", "tiny", "count=\udcff"], "count"),
        (["report", LONG], "there is no run 'xxx"),
        (["figure", LONG, "scores", "x.html"], "there is no run 'xxx"),
        (["convert", LONG, "nowhere", "made"], "found layout 'xxx"),
        (["convert", "ave", LONG, "made"], "found no folder"),
    ],
)
def test_mistakes_get_one_message_and_exit_two(project, capsys, words, message):
    make_notebook(project / "notebooks" / "tiny.ipynb")
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("srcid: ") and message in said.err and "Traceback" not in said.err
    assert len(said.err) < 2000 and LONG not in said.err.partition(":")[2][:260]
    assert {path.name for path in project.iterdir()} == {"notebooks"}


def test_what_cannot_be_written_or_drawn_is_told_in_one_sentence_and_leaves_nothing(project, capsys):
    import plotly.graph_objects as go

    run = Run.create_or_open("mine", "tiny", {"seed": 1})
    run.save_figure(go.Figure(layout=dict(title="one")), "one")
    (run.figures / "odd.json").write_text('{"figure": {"data": 3}}')
    make_notebook(run.notebook)
    (project / "file").touch()
    before = {str(path): path.stat().st_size for path in project.rglob("*")}
    cases = [
        (["figure", "mine", "../params", "x.html"], "mine has no figure '../params'; there are odd, one"),
        (["figure", "mine", "oen", "x.html"], "did you mean 'one'?"),
        (["figure", "mine", "odd", "x.html"], "odd.json is damaged"),
        (["figure", "mine", "one", "x.txt"], "need one ending in"),
        (["figure", "mine", "one", "file/x.html"], "cannot be written"),
        (["figure", "mine", "one", f"{LONG}.html"], "File name too long"),
        (["figure", "mine", "one", "/proc/no/x.html"], "cannot be made"),
        (["report", "mine", "--to", "file/x.html"], "cannot be written"),
        (["report", "mine", "--to", LONG], "File name too long"),
        (["report", "mine", "--to", "notebooks"], "Is a directory"),
    ]
    (project / "notebooks").mkdir()
    for words, message in cases:
        assert main(words) == 2, words
        said = capsys.readouterr().err
        assert said.startswith("srcid: ") and message in said and said.count("\n") == 1 and len(said) < 400, said
    (project / "notebooks").rmdir()
    assert {str(path): path.stat().st_size for path in project.rglob("*")} == before


def test_a_full_disk_is_told_and_ends_with_one(project, capsys, monkeypatch):
    make_notebook(project / "notebooks" / "tiny.ipynb")

    def full(*args, **options):
        raise DiskError(errno.ENOSPC, "no space left in runs: 0.0 MB are free")

    monkeypatch.setattr("srcid.runs.execute", full)
    assert main(["run", "tiny"]) == 1
    assert capsys.readouterr().err == "srcid: no space left in runs: 0.0 MB are free\n"


@pytest.fixture
def three(project):
    """Runs of three seeds, of which the first is running."""
    found = []
    for seed in range(3):
        values = {"preset": "demo", "data": "digits", "seed": seed, "options": {}}
        name = f"02_train-demo-digits-s{seed}-{'0123456789' * 3}"
        run = runs.Run.create_or_open(name, "02_train", resolve(seed=seed), values=values)
        run.mark("running")
        if seed:
            run.write("scores.json", {"localisation/across/all": 50 + seed, "localisation/within/all": 60.0})
            run.finish()
        found.append(run)
    return found


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_table_of_runs_fits_the_terminal(three, monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["runs"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    columns, said = set(runs.table()), "\n".join(rows)
    assert max(map(len, [head, *rows])) <= width and head.split()[0] == "run" and "status" in head.split()
    assert set(head.split()) <= columns and all(name in head.split() or name in said for name in columns)
    assert ("more columns (--columns NAME,...)" in said) == (set(head.split()) < columns)
    assert sum("finished" in row for row in rows) == 2 and ("…" in rows[0] or width > 50)


def test_columns_filters_and_order_are_those_of_the_package(three, capsys):
    words = ["--columns", "seed,preset,score/localisation/across/all", "--where", "data=digits", "seed=1..2"]
    assert main(["runs", *words, "--sort", "score/localisation/across/all"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["seed", "preset", "score/localisation/across/all"], ["1", "demo", "51"], ["2", "demo", "52"]]
    assert main(["runs", "--columns", "run,presett"]) == 2
    assert "no run has a column 'presett' (did you mean 'preset'?)" in capsys.readouterr().err


def test_watching_shows_sweeps_and_runs_until_nothing_is_running(three, capsys):
    from srcid.runs.sweep import _announced

    asked = [SimpleNamespace(notebook=Path("02_train.ipynb"), name=name) for name in (*[r.name for r in three], "next")]
    seen = []

    def stop(seconds):
        seen.append((seconds, capsys.readouterr().out))
        if len(seen) == 2:
            sweep.close()
            three[0].finish()

    sweep = contextlib.ExitStack()
    sweep.enter_context(_announced(asked))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("srcid.__main__.time.sleep", stop)
        assert main(["runs", "--watch", "0.5"]) == 0
    assert [seconds for seconds, _ in seen] == [0.5, 0.5]
    assert "sweep of 02_train, 4 to do: 1 running, 2 finished, 1 waiting" in seen[0][1]
    last = capsys.readouterr().out
    assert "sweep of" not in last and last.count("finished") == 3 and last.endswith("nothing is running\n")
    assert not list((runs.root() / ".sweeps").iterdir())


def test_a_name_that_is_not_there_gets_the_nearest_and_what_there_is(three, capsys):
    wrong = three[0].name.replace("-s0-", "-s00-")
    (three[1].figures / "scores.json").write_text("{}")
    for words in (["report", wrong], ["figure", wrong, "scores", "x.png"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"there is no run '{wrong}' (did you mean '02_train-demo" in said and three[2].name in said
    with pytest.raises(runs.RunError, match="did you mean"):
        runs.pick(wrong)
    for name in ("score", "../params"):
        assert main(["figure", three[1].name, name, "x.png"]) == 2
        said = capsys.readouterr().err
        assert f"has no figure '{name}'" in said and "there are scores" in said
    assert "(did you mean 'scores'?)" not in said


def test_a_table_of_no_runs_says_so(project, capsys):
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == f"no runs in {project / 'runs'}\n"


def test_freezing_runs_the_notebook_and_keeps_the_pair_in_line(project, capsys):
    notebook = make_notebook(project / "notebooks" / "tiny.ipynb", "print('count is', count)")
    assert main(["freeze", "tiny"]) == 0
    assert "count is 3" in notebook.read_text() and "papermill" not in notebook.read_text()
    assert "print('count is', count)" in notebook.with_suffix(".py").read_text()
    first, twin = nbformat.read(notebook, as_version=4).cells, notebook.with_suffix(".py")
    assert main(["freeze", "notebooks/tiny.ipynb"]) == 0
    assert nbformat.read(notebook, as_version=4).cells == first

    said = twin.read_text()
    twin.write_text(said.replace("count is", "the count is"))
    assert main(["freeze", "tiny"]) == 0
    assert "the count is 3" in notebook.read_text() and twin.read_text() == said.replace("count is", "the count is")


def test_python_dash_m_says_what_there_is():
    found = subprocess.run([sys.executable, "-m", "srcid", "--help"], capture_output=True, text=True, check=True)
    for command in ("lab", "run", "sweep", "runs", "report", "freeze"):
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


FAKE_PYTHON = """\
#!/usr/bin/env bash
# Stands for Python: makes environments of itself, notes what pip is asked, and remembers what is installed.
here="$(cd "$(dirname "$0")" && pwd)"
case "$*" in
    "-c import sys, pip"*) [[ ! -e "$here/no-pip" ]] ;;
    "-c import sys"*) ;;
    "-c import srcid") [[ -e "$here/installed" ]] ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" ;;
    "-c import importlib.metadata"*) [[ ! -e "$here/torch" ]] || cat "$here/torch" ;;
    "-m pip install "*"torch==2.13.0+cpu")
        echo "torch $*" >>"$LOG"
        if [[ "$*" == *--index-url* ]]; then [[ -n "${PYTORCH_INDEX:-}" ]]; else [[ -n "${OWN_INDEX:-}" ]]; fi &&
            echo "2.13.0+cpu" >"$here/torch" ;;
    "-m pip install "*)
        echo "pip ${*: -1}" >>"$LOG"
        [[ -z "${CUT:-}" ]] || exit 1
        touch "$here/installed" ;;
    --version) echo "Python 3.11.0" ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def copied(tmp_path):
    """A copy of the launcher with a Python that downloads nothing: call it, see what was installed."""
    folder = tmp_path / "copied"
    folder.mkdir()
    for name in ("lab", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = tmp_path / "python3"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    log = tmp_path / "log"
    log.touch()

    class Copied:
        venv = folder / ".venv"

        def __call__(self, *words, **environment):
            command = [shutil.which("bash"), str(folder / "lab"), *words]
            environment = {**os.environ, "PYTHON": str(python), "LOG": str(log), **environment}
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        def make_venv(self):
            """As a user would, with something of the user's in it."""
            command = [str(python), "-m", "venv", str(self.venv)]
            subprocess.run(command, check=True)
            (self.venv / "torch-for-cpu").touch()
            return self.venv / "torch-for-cpu"

        @property
        def installed(self):
            return [line.removeprefix("pip ") for line in log.read_text().splitlines() if line.startswith("pip ")]

        @property
        def asked_for_torch(self):
            """From where its CPU build was asked for."""
            lines = [line for line in log.read_text().splitlines() if line.startswith("torch ")]
            return ["PyTorch's index" if "--index-url" in line else "pip's own" for line in lines]

    return Copied()


def test_lab_sets_up_once_and_adds_extras_later(copied):
    assert copied("install").returncode == 0 and copied.installed == ["."]
    (copied.venv / "torch-for-cpu").touch()
    begun = time.monotonic()
    assert copied("install").stdout == "" and copied.installed == ["."]
    assert time.monotonic() - begun < 1
    assert copied("install", "browser").returncode == 0 and copied("install", "test").returncode == 0
    assert copied("install", "browser", "test").stdout == ""
    assert copied.installed == [".", ".[browser]", ".[browser,test]"] and (copied.venv / "torch-for-cpu").exists()


def test_lab_installs_into_the_users_venv_and_never_deletes_it(copied):
    mine = copied.make_venv()
    assert copied("install", CUT="1").returncode != 0  # broken off while it installs
    assert mine.exists()
    assert copied("install").returncode == 0 and copied.installed == [".", "."]
    assert copied("install").stdout == ""
    assert mine.exists() and len(copied.installed) == 2


def test_lab_makes_its_own_venv_anew_after_an_interrupted_set_up(copied):
    assert copied("install", CUT="1").returncode != 0
    half = copied.venv / "half-a-package"
    half.touch()
    repaired = copied("install")
    assert repaired.returncode == 0 and "making it anew" in repaired.stdout
    assert not half.exists() and copied("install").stdout == ""


def test_a_venv_that_the_user_made_over_an_interrupted_one_is_the_users(copied):
    assert copied("install", CUT="1").returncode != 0
    time.sleep(0.05)  # the two are told apart by their times
    mine = copied.make_venv()
    assert copied("install").returncode == 0 and mine.exists()


def test_lab_refuses_a_venv_it_cannot_use_and_leaves_it_alone(copied):
    mine = copied.make_venv()
    (copied.venv / "bin" / "no-pip").touch()
    refused = copied("install")
    assert refused.returncode == 2 and "which lab did not make" in refused.stderr and "3.11 or newer" in refused.stderr
    assert mine.exists() and copied.installed == []


def test_without_a_gpu_torch_is_the_cpu_build_and_lab_says_so(copied):
    done = copied("install", PYTORCH_INDEX="1")
    assert done.returncode == 0 and "found no GPU; torch 2.13.0 for the CPU" in done.stdout
    assert copied.asked_for_torch == ["pip's own", "PyTorch's index"] and copied.installed == ["."]
    copied("install", "browser", PYTORCH_INDEX="1")  # torch is there already
    assert len(copied.asked_for_torch) == 2 and copied.installed == [".", ".[browser]"]


def test_an_index_of_ones_own_that_has_the_cpu_build_is_enough(copied):
    assert copied("install", OWN_INDEX="1").returncode == 0
    assert copied.asked_for_torch == ["pip's own"] and copied.installed == ["."]


def test_where_no_cpu_build_can_be_had_pip_chooses(copied):
    done = copied("install")
    assert done.returncode == 0 and "found no CPU build of torch 2.13.0" in done.stdout
    assert copied.asked_for_torch == ["pip's own", "PyTorch's index"] and copied.installed == ["."]


def test_with_a_gpu_or_on_request_pip_chooses_torch(copied, tmp_path):
    for name, words in (("nvidia-smi", "GPU 0: a card"), ("nothing", "")):
        tool = tmp_path / name / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\necho '{words}'\n")
        tool.chmod(0o755)
    with_gpu, without = (f"{tmp_path / name}:{os.environ['PATH']}" for name in ("nvidia-smi", "nothing"))
    assert "found a GPU; torch as pip chooses it" in copied("install", PATH=with_gpu).stdout
    assert "since SRCID_TORCH=cuda" in copied("install", "test", PATH=without, SRCID_TORCH="cuda").stdout
    assert copied.asked_for_torch == []
    assert copied("install", "browser", PATH=with_gpu, SRCID_TORCH="cpu", PYTORCH_INDEX="1").returncode == 0
    assert len(copied.asked_for_torch) == 2


def test_torch_for_nothing_known_is_refused(copied):
    refused = copied("install", SRCID_TORCH="gpu")
    assert refused.returncode == 2 and "found SRCID_TORCH=gpu, need cuda, cpu or nothing" in refused.stderr
    assert copied.installed == copied.asked_for_torch == []


def test_every_extra_of_the_package_can_be_installed(copied):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert copied("install", *extras).returncode == 0
    assert copied.installed == [f".[{','.join(sorted(extras))}]"]


def test_all_tests_have_what_they_import(copied):
    copied("test")  # ends at the missing notebooks
    assert copied.installed == [".[bert,cluster,media,quantizers,test]"]


@pytest.mark.parametrize("failing", [(), ("ruff",), ("lint-imports", "pytest")])
def test_every_check_runs_and_failures_are_summed_up(copied, failing):
    copied("install", "test", "quantizers", "cluster", "media", "bert")
    for name in ("ruff", "lint-imports", "pytest"):
        tool = copied.venv / "bin" / name
        tool.write_text(f"#!/bin/sh\nexit {int(name in failing)}\n")
        tool.chmod(0o755)
    notebooks = copied.venv.with_name("notebooks")
    notebooks.mkdir()
    (notebooks / "01.ipynb").touch()
    done = copied("test")
    steps = {"lint": "ruff", "format": "ruff", "layering": "lint-imports", "tests": "pytest"}
    steps["notebooks, tests/evaluation, tests/maps"] = "pytest"
    for step, tool in steps.items():
        assert f"== {step} {'FAILED after' if tool in failing else 'passed in'}" in done.stdout
    summary = done.stdout.splitlines()[-1]
    bad = [step for step, tool in steps.items() if tool in failing]
    assert summary.startswith("== all passed") if not bad else summary.endswith(f"s: {', '.join(bad)}")
    assert done.returncode == (1 if bad else 0)


def test_ci_installs_every_extra_and_lets_no_test_skip(tmp_path):
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    for name in ("lab", ".venv/bin/pytest", "chromium"):
        script = tmp_path / name
        script.write_text('#!/bin/sh\necho "$(basename "$0") $* CI=$CI"\n')
        script.chmod(0o755)
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")  # Debian's packages may be there or not
    (tmp_path / "apt-get").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CI": ""}
    command = [shutil.which("bash"), str(tmp_path / ".ci" / "run"), "-x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "CI=" in line]
    assert lines[:2] == ["lab install test browser quantizers cluster media bert CI=1", "lab test -x CI=1"]
    assert len(lines) == 3 and lines[2].startswith("pytest -m browser ")


def test_a_kept_figure_is_drawn(project, capsys):
    import plotly.graph_objects as go

    run = runs.Run.create_or_open("a-run", "02_train", {})
    run.save_figure(go.Figure(go.Scatter(x=[1, 2], y=[3.5, 4])), "curve")
    assert main(["figure", "a-run", "curve", "pictures/curve.html"]) == 0
    assert "Plotly.newPlot" in (project / "pictures" / "curve.html").read_text()
    assert main(["figure", "a-run", "curve", "curve.doc"]) == 2
    assert "need one ending in .png" in capsys.readouterr().err
    assert main(["figure", "a-run", "other", "curve.html"]) == 2


@pytest.mark.browser
def test_a_figure_as_pdf_is_vectors_on_a_page_of_its_size(project):
    import plotly.graph_objects as go

    run = runs.Run.create_or_open("a-run", "02_train", {})
    run.save_figure(go.Figure(go.Scatter(x=[1, 2], y=[3.5, 4]), layout=dict(width=600, height=300)), "curve")
    assert main(["figure", "a-run", "curve", "curve.pdf"]) == 0
    content = (project / "curve.pdf").read_bytes()
    width, height = map(float, re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content).groups())
    assert content.startswith(b"%PDF") and b"/Subtype /Image" not in content
    assert width / height == pytest.approx(2, 0.05)


def test_values_may_stand_behind_options_and_misspelt_options_are_refused(project, capsys):
    make_notebook(project / "notebooks" / "small.ipynb", "print(number)", parameters='number: int = 1\nrun: str = ""')
    assert main(["run", "small", "--name", "one", "number=3"]) == 0
    assert runs.Run.open("one").status["values"]["number"] == 3
    with pytest.raises(SystemExit):
        main(["run", "small", "--nmae", "two", "number=3"])
    assert "unrecognized arguments: --nmae" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["figure", "one", "scores", "file.png", "number=3"])
