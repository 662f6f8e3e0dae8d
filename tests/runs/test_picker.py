"""Choosing a run: the list, what is remembered, and the index."""

import base64
import json
import re
import shutil

import pytest

from srcid import runs
from srcid.runs import picker
from srcid.runs.picker import RunIndex, RunPicker, chosen, pick, sparkline

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def three(project):
    """Two finished runs of 02_train, one of 04_codebook."""
    made = []
    for name, notebook in (("old", "02_train"), ("new", "02_train"), ("looked", "04_codebook")):
        run = runs.Run.create_or_open(name, notebook, {"name": name}, values={"data": f"data-{name}"})
        run.mark("running")
        if notebook == "02_train":
            run.write("scores.json", {"classification/across": 12.345})
            lines = [{"step": step, "loss/total": 9.0 - step} for step in range(5)] + [{"step": 5, "val/loss": 1}]
            run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"half a li')
        run.finish()
        made.append(run)
    return made


def test_headless_the_newest_run_is_taken_whatever_was_clicked(three):
    picker.choose("old")
    assert pick().name == "new" and pick("old").name == "old"


def test_a_click_counts_in_every_notebook_until_the_run_is_gone(three, monkeypatch, capsys):
    monkeypatch.setattr(picker, "has_front_end", lambda: True)
    assert pick().name == "new" and chosen() == ""
    shown = RunPicker(pick())
    assert shown.list.options == ("new", "old") and shown.list.value == "new"
    shown.list.value = "old"
    assert shown.name == "old" and "Run All Cells" in shown.note.value
    assert chosen() == "old" and pick().name == "old" and pick("new").name == "new"
    three[0].mark("running")
    assert chosen() == "" and pick().name == "new"


def test_where_a_parameter_names_the_run_a_click_chooses_nothing(three, monkeypatch):
    shown = RunPicker(three[1], fixed=True)
    shown.list.value = "old"
    assert "The parameter <code>run</code>" in shown.note.value and chosen() == "" and shown.name == "new"


@pytest.mark.parametrize("content", ["", "[]", '{"run": 3}', '{"run": "../elsewhere"}', '{"run": "missing"}'])
def test_a_damaged_or_foreign_choice_counts_for_nothing(three, content):
    (runs.root() / ".chosen.json").write_text(content)
    assert chosen() == ""


def test_the_index_bears_a_run_that_vanishes_meanwhile(three):
    index = RunIndex()
    shutil.rmtree(three[0].folder)
    assert index.table().count("<tr>") == 4 and "data-new" in index.table() and "data-old" not in index.table()


def test_the_index_shows_status_data_scores_and_the_loss(three, capsys):
    text = RunIndex().table()
    assert text.count("<tr>") == 4 and text.index("looked") < text.index(">new<") < text.index(">old<")
    assert text.count("<img") == 2 and "from 9 to 5" in text
    assert "and 2 older ones" in RunIndex().table(most=1)
    assert "data-old" in text and "12.3" in text and "classification/<wbr>across" in text


def test_names_are_text_in_the_index(project):
    run = runs.Run.create_or_open("plain", "02_train", {}, values={"data": "<script>alert(1)</script>"})
    run.finish()
    assert "<script>" not in RunIndex().table()


def test_an_index_of_nothing_says_what_to_do(project):
    assert "No runs yet" in RunIndex().table()


def test_a_sparkline_spans_its_box_and_leaves_out_what_is_not_finite():
    line = base64.b64decode(re.search("base64,(.*?)'", sparkline([0.0, float("nan"), 10.0, 5.0]))[1]).decode()
    assert "points='2.0,22.0 60.0,2.0 118.0,12.0'" in line
    assert sparkline([1.0]) == sparkline([]) == "" and "from 2 to 2" in sparkline([2.0, 2.0])
