"""One identity of a run: by hand, by command line and in a sweep; and what of a notebook is run."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest

from srcid import runs
from srcid.__main__ import main
from srcid.features import FeatureStore
from srcid.runs.requests import request
from srcid.values import Word
from tests.helpers import TINY
from tests.notebook_maker import make_notebook

pytestmark = pytest.mark.usefixtures("project")

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FEW = {"train": 12, "val": 6, "test": 6}


def edit(notebook, **values):
    """Set parameters of a notebook as somebody does in JupyterLab, and save it."""
    book = nbformat.read(notebook, as_version=4)
    cell = next(cell for cell in book.cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in values.items():
        cell.source, count = re.subn(rf"^({name}: \w+) = .*$", rf"\1 = {value!r}", cell.source, flags=re.M)
        assert count == 1
    nbformat.write(book, notebook)


def test_training_by_hand_by_command_line_and_in_a_sweep_is_one_run(project, capsys):
    for name in ("02_train.ipynb", "02_train.py"):
        (project / "notebooks").mkdir(exist_ok=True)
        shutil.copy(NOTEBOOKS / name, project / "notebooks")
    assert runs.working_copies() == []
    copy = project / "notebooks" / "work" / "02_train.ipynb"
    edit(copy, data="synthetic", generator=FEW, seed=3, options={**TINY, "layers": 1})
    command = [sys.executable, "-m", "jupyter", "execute", str(copy)]
    subprocess.run(command, cwd=copy.parent, env=os.environ, check=True, capture_output=True)
    [by_hand] = runs.root().iterdir()
    assert by_hand.name.startswith("02_train-demo-synthetic-s3-") and runs.latest("02_train").folder == by_hand
    steps = (by_hand / "metrics.jsonl").read_bytes()

    words = [f"{name}={value}".replace("'", '"') for name, value in TINY.items()]
    words += ["data=synthetic", "preset=demo+dcid", f"generator={json.dumps(dict(reversed(FEW.items())))}", "seed=03"]
    assert main(["run", "02_train", *words]) == 0
    assert main(["sweep", "02_train", *words]) == 0
    assert "1 runs, 1 finished before, 0 to do" in capsys.readouterr().out
    assert [path for path in runs.root().iterdir() if path.name[0] != "."] == [by_hand]
    assert (by_hand / "metrics.jsonl").read_bytes() == steps  # it was trained once
    assert list(runs.table(where={"seed": 3, "data": "synthetic"}).run) == [by_hand.name]


DATA = 'data: str = "synthetic"\nfsdd: str = ""\ngenerator: dict = {}\n'
TRAINS = DATA + 'preset: str = "demo"\nseed: int = 0\nrate: float = 0.5\noptions: dict = {}'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"preset": "demo", "seed": Word("0"), "options": {}, "rate": 0.5}),
        ({"layers": Word("1")}, {"preset": "demo+dcid"}),
        ({"options": {"layers": 1, "beta": 1}}, {"beta": Word("1.0"), "layers": 1}),
        ({}, {"options": {"layers": 2}}),
        ({"rate": Word("1")}, {"rate": 1.0}),
        ({"club_off": Word("1,2")}, {"options": {"club_off": (1, 2)}}),
        ({"generator": {"noise": 1, "train": 20}}, {"generator": Word('{"train": 20, "noise": 1.0}')}),
        ({"data": "mine"}, {"data": "./notebooks/../mine"}),
        ({"data": "mine"}, {"data": "yours"}),
        ({}, {"processes": 2}),
    ],
)
def test_the_same_values_in_another_form_are_the_same_run(project, one, other):
    make_notebook(project / "notebooks" / "train.ipynb", parameters=TRAINS)
    FeatureStore.create(project / "mine", {m: np.ones((2, 2, 1)) for m in "ab"}, splits={"all": [0, 1]})
    (project / "yours").symlink_to("mine")
    first, second = request("train", one), request("train", other)
    assert first.identity == second.identity != request("train", {**one, "seed": 1}).identity
    run = first.open()
    assert second.open() == run if first.name == second.name else request("train", other).open() == run
    assert len(list(runs.root().iterdir())) == 1


def test_a_notebook_that_looks_into_a_run_counts_by_the_run(project):
    make_notebook(project / "notebooks" / "look.ipynb", parameters='run: str = ""\nsplit: str = "test"')
    made = [runs.Run.create_or_open(name, "02_train", {"seed": name}) for name in "ab"]
    asked = []
    for run in made:
        run.finish()
        newest = request("look")  # by command line
        by_hand = runs.current("look", {"run": "", "split": "test"}, run)  # chosen by a click
        assert newest.identity == request("look", {"run": run.name}).identity == by_hand.status["identity"]
        assert newest.name == by_hand.name and by_hand.name.startswith(f"look-{run.name}-")
        asked.append(newest.identity)
    assert asked[0] != asked[1]


def test_commands_run_the_twin_whatever_happened_to_the_notebooks(project):
    original = make_notebook(project / "notebooks" / "train.ipynb", "print('count is', count)")
    twin = original.with_suffix(".py")
    jupytext.write(nbformat.read(original, as_version=4), twin, fmt="py:percent")
    runs.working_copies()
    copy = project / "notebooks" / "work" / "train.ipynb"
    edit(original, count=77)
    edit(copy, count=88)
    for where in (project, original.parent, copy.parent):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(where)
            run = runs.execute("train", stream=io.StringIO())
        assert run.status["values"]["count"] == 3 and "count is 3" in run.notebook.read_text()
    assert len([path for path in runs.root().iterdir() if path.is_dir()]) == 1
    assert runs.execute(copy, stream=io.StringIO()).status["values"]["count"] == 88  # asked for by its path
    twin.write_text("import os\n")  # a module of the same name
    assert request("train").values["count"] == 77


def test_working_copies_are_kept_and_made_anew_on_request(project):
    with pytest.raises(runs.RunError, match="there are no notebooks in"):
        runs.working_copies()
    one, two = (make_notebook(project / "notebooks" / f"{name}.ipynb") for name in ("one", "two"))
    assert runs.working_copies() == []
    copy = project / "notebooks" / "work" / "one.ipynb"
    assert copy.read_bytes() == one.read_bytes()
    edit(copy, count=5)
    edited = copy.read_bytes()
    assert runs.working_copies() == [] and copy.read_bytes() == edited
    later = copy.stat().st_mtime + 5
    os.utime(one, (later, later))
    (copy.parent / "two.ipynb").unlink()
    [note] = runs.working_copies()
    assert note.startswith("newer than your copy: one;") and copy.read_bytes() == edited
    assert (copy.parent / "two.ipynb").read_bytes() == two.read_bytes()
    assert runs.working_copies(anew=True) == [] and copy.read_bytes() == one.read_bytes()


def test_start_opens_the_copies_and_hands_on_options(project, monkeypatch, capsys):
    make_notebook(project / "notebooks" / "index.ipynb")
    called = []
    monkeypatch.setattr(os, "execv", lambda path, words: called.append((words, Path.cwd())))
    main(["start", "--anew", "--port", "8890"])
    [(words, where)] = called
    assert words[:4] == [sys.executable, "-m", "jupyter", "lab"] and words[-2:] == ["--port", "8890"]
    assert "--LabApp.default_url=/lab/tree/index.ipynb" in words and "--anew" not in words
    assert where == project / "notebooks" / "work" and (where / "index.ipynb").exists()


@pytest.mark.parametrize("name", ["h{seed}", "{}", "{0}", "a{nosuch}b{{"])
def test_a_project_folder_may_have_braces_in_its_name(tmp_path, monkeypatch, name):
    home = tmp_path / name
    make_notebook(home / "notebooks" / "train.ipynb", "print('count is', count)")
    monkeypatch.setenv("SRCID_HOME", str(home))
    monkeypatch.chdir(home)
    run = runs.execute("train", {"seed": 3}, stream=io.StringIO())
    assert run.folder.parent == home / "runs" and "count is 3" in run.notebook.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
