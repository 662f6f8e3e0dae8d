"""`srcid.run`: the main job without a notebook."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import srcid
from srcid import runs
from srcid.codes import CodeTable
from srcid.params import ParameterError
from srcid.pipeline import PARAMETERS
from srcid.runs.notebooks import declared
from srcid.runs.requests import Busy, claimed, request
from srcid.training.requirements import TrainingError
from srcid.values import Word
from tests.helpers import TINY, tiny_store
from tests.notebook_maker import make_notebook

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "02_train.ipynb"


def test_it_leaves_a_run_that_is_that_of_the_notebook_and_that_all_can_open(project, capsys):
    store = tiny_store(project / "mine")
    run = srcid.run("mine", preset="demo+dcid", seed=3, **TINY)
    assert run.folder.parent == project / "runs" and run.status["status"] == "finished"
    assert "finished after" in capsys.readouterr().out
    assert runs.latest("02_train") == run == runs.ready() == runs.pick()
    assert {path.stem for path in run.figures.iterdir()} == {"curves", "code_strip", "usage", "scores"}
    assert CodeTable.open(run.codes).checksum == store.checksum == run.status["checksum"]
    assert run.read("store.json")["path"] == str(project / "mine")
    collected = runs.collect()
    assert list(collected.params.index) == [run.name] and collected.params.method.iloc[0].startswith("dcid vq")
    assert {"score/localisation/across/all", "score/classification/within/all"} <= set(runs.table())
    cost = run.read("cost.json")
    assert cost["bits"] == pytest.approx(np.log2(TINY["codebook_size"])) and cost["parameters"] > 1000
    assert any(name.startswith("val/recon") for name in cost) and "bits/1/first" in cost

    about = {"data": str(project / "mine"), "preset": "demo+dcid", "seed": Word("3"), "options": Word(json.dumps(TINY))}
    assert request(NOTEBOOK, about).identity == run.status["identity"]
    before = (run.folder / "status.json").read_bytes()
    assert srcid.run(store, preset="demo+dcid", seed=3, **TINY) == run and capsys.readouterr().out == ""
    assert (run.folder / "status.json").read_bytes() == before
    named = srcid.run(store, name="mine", preset="demo+dcid", seed=3, row=1, **TINY)
    assert named.name == "mine" and named.params == run.params

    make_notebook(
        project / "notebooks" / "look.ipynb",
        "from srcid import runs\nfrom srcid.codes import CodeTable",
        "print(CodeTable.open(runs.pick(run).codes).clips, 'clips')",
        parameters='run: str = ""\nrow: int = 0',  # a line that begins with run, alone, is IPython's %run
    )
    assert "40 clips" in runs.execute("look", {"run": run.name}, stream=io.StringIO()).notebook.read_text()


def test_its_parameters_are_those_of_the_notebook():
    assert declared(NOTEBOOK) == PARAMETERS


def test_what_cannot_be_is_refused_before_anything_is_written(project):
    with pytest.raises(ParameterError) as caught:
        srcid.run("nowhere", preset="demmo", epoch=3, lr=0)
    message = str(caught.value)
    for part in ("found 'nowhere'", "did you mean 'demo'?", "'epoch' is no parameter", "lr=0: input should be greater"):
        assert part in message
    with pytest.raises(runs.RunError, match="cannot name a run"):
        srcid.run("synthetic", name="a/b")
    assert not list(project.iterdir())


def test_a_run_that_fails_or_is_busy_says_so(project):
    tiny_store(project / "mine")
    with pytest.raises(TrainingError):
        srcid.run("mine", name="bad", **TINY | {"lr": 1e38})
    assert runs.Run.open("bad").status["status"] == "failed" and "TrainingError" in runs.Run.open("bad").status["error"]
    asked = request("02_train", {"data": "mine", "options": TINY}, names=PARAMETERS)
    with claimed(asked.open()), pytest.raises(Busy):
        srcid.run("mine", **TINY)


def test_importing_it_is_cheap():
    import subprocess

    code = "import srcid, sys; print([m for m in ('numpy', 'pydantic', 'pandas', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
