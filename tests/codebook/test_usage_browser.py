"""The map of codes as a widget: choices, clicks and slider reach the views that follow, quickly."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from srcid import runs
from srcid.codebook.browser.usage import UsageBrowser
from srcid.codebook.meaning import association
from srcid.codebook.usage import sharing
from srcid.codes import CodeTable


@pytest.fixture
def browser(code_tables):
    heard = []
    made = UsageBrowser(code_tables["vq"], on_code=lambda *chosen: heard.append(chosen))
    made.heard = heard
    return made


def click(browser, place, trace=0):
    """What plotly sends when the column ``place`` (from 1) is clicked."""
    where = dict(trace_indexes=[trace], point_indexes=[[0, place - 1]], xs=[place], ys=["first"], z=[0])
    state = dict(alt=False, ctrl=False, meta=False, shift=False, button=0, buttons=1)
    browser.view._js2py_pointsCallback = dict(
        event_type="plotly_click", points=where, selector=None, device_state=state
    )


def marked(browser):
    return [round((s.x0 + s.x1) / 2) for s in browser.view.layout.shapes if s.name == "marked"]


def test_a_click_on_a_column_marks_it_and_tells_the_others(browser):
    click(browser, 3)
    code = browser.codes[2]
    assert browser.heard == [(1, code)] and browser.code == code
    assert marked(browser) == [3] and browser.slider.value == 3
    assert f"code {code}" in browser.said.value and browser.guard.message.value == ""


def test_the_slider_does_the_same_by_keyboard(browser):
    browser.slider.value = 2
    assert browser.heard == [(1, browser.codes[1])] and marked(browser) == [2]


def test_what_is_chosen_is_what_is_shown(browser, code_tables):
    browser.layer.value = 2
    assert "Layer 2" in browser.view.layout.title.text
    assert set(browser.codes) == set(sharing(code_tables["vq"], 2).codes.tolist())
    browser.modality.value = "second"
    titles = [note.text for note in browser.view.layout.annotations]
    assert "layer 2, second: 'event'" in titles
    click(browser, 1, trace=len(browser.view.data) - 2)
    assert browser.heard == [(2, browser.codes[0])]
    assert browser.figure().layout.title.text == browser.view.layout.title.text


def test_the_table_is_sorted_as_asked(browser, code_tables):
    found = association(code_tables["vq"])
    frame = found.frame()
    first = {"surest": frame["low"].idxmax(), "steps": frame["steps"].idxmax(), "p": frame["p"].idxmin(), "code": 0,
             "purity": frame["purity"].idxmax(), "lift": frame["lift"].idxmax()}  # fmt: skip
    for by, row in first.items():
        browser.sort.value = by
        assert re.search("<td.*?>(.*?)</td>", browser.list.value)[1] == str(frame["code"][row]), by


def test_a_code_chosen_elsewhere_is_marked_without_an_echo(browser):
    code = browser.codes[4]
    browser.mark(1, code)
    assert marked(browser) == [5] and browser.heard == []
    browser.mark(2, 10_000)
    assert browser.layer.value == 2 and marked(browser) == [] and "not in the map" in browser.said.value


def test_a_symbol_of_one_stage_is_no_code_to_explore(code_tables):
    heard = []
    browser = UsageBrowser(code_tables["rvq"], on_code=lambda *chosen: heard.append(chosen))
    assert list(browser.stage.options) == [("all as one", 0), ("1", 1), ("2", 2)]
    browser.stage.value = 2
    browser.slider.value = 2
    assert heard == [] and "choose all stages as one" in browser.guard.message.value
    browser.stage.value = 0
    browser.slider.value = 1
    assert heard == [(1, browser.codes[0])]


def test_without_codes_or_labels_there_is_a_sentence(code_tables):
    none = UsageBrowser(code_tables["identity"])
    assert none.slider.disabled and "identity" in none.view.layout.title.text
    bare = CodeTable(code_tables["vq"].path, code_tables["vq"].manifest | {"labels": {}})
    browser = UsageBrowser(bare)
    assert browser.label.disabled and browser.codes and browser.list.value == ""
    assert "no labels" in browser.view.layout.annotations[-1].text
    browser.slider.value = 2
    assert browser.code == browser.codes[1]


def test_every_control_can_be_reached_by_keyboard(browser):
    controls = (browser.layer, browser.stage, browser.modality, browser.label, browser.slider, browser.sort)
    assert all(control.tabbable is not False for control in controls)


def test_every_control_answers_on_a_table_as_large_as_the_digits(write_large):
    browser = UsageBrowser(write_large)
    changes = [(browser.layer, 2), (browser.modality, "second"), (browser.label, "fine"), (browser.slider, 9)]
    for control, value in [*changes, (browser.sort, "lift")]:
        control.value = value
        assert browser.guard.message.value == ""


@pytest.fixture
def write_large(tmp_path, code_tables):
    """3,000 clips of 10 steps with 200 codes in two layers, events of ten classes and a finer factor."""
    draw = np.random.default_rng(0)
    plain, modalities = code_tables["vq"].manifest, list(code_tables["vq"].modalities)
    event = np.zeros((3000, 10, 10), bool)
    event[np.arange(3000), 3:6, draw.integers(10, size=3000)] = True
    np.save(tmp_path / "label_event.npy", event)
    np.save(tmp_path / "label_fine.npy", draw.integers(4, size=3000))
    for m in modalities:
        for layer in (1, 2):
            np.save(tmp_path / f"codes_{layer}_{m}.npy", draw.integers(200, size=(3000, 10, 1), dtype=np.int32))
    about = dict(visible_in=modalities)
    labels = {
        "event": dict(name="event", kind="multilabel", level="step", classes=list("abcdefghij"), **about),
        "fine": dict(name="fine", kind="category", level="clip", classes=list("wxyz"), **about),
    }
    changed = dict(
        clips=3000, steps=10, sizes=[200], stages=1, splits=[], labels=labels, media=[], arrays="", files=None
    )
    return CodeTable(tmp_path, plain | changed)


def test_the_notebook_runs_on_a_table_without_labels(code_tables, tmp_path, monkeypatch):
    """Every figure is kept; those that need labels are a sentence."""
    monkeypatch.setenv("SRCID_RUNS", str(tmp_path / "runs"))
    trained = runs.Run.create_or_open("02_train-bare", "02_train", dict(seed=0))
    bare = code_tables["vq"].manifest | {"labels": {}}
    shutil.copytree(code_tables["vq"].path, trained.codes, dirs_exist_ok=True)
    (trained.codes / "manifest.json").write_text(json.dumps(bare))
    trained.metrics.write_text('{"step": 1, "perplexity/1/first": 2.0}\n')
    trained.finish()
    done = runs.execute("04_codebook", dict(run=trained.name, split=""))
    kept = {path.stem: done.load_figure(path.stem) for path in done.figures.glob("*.json")}
    assert {name for name, figure in kept.items() if not figure.data} == {"meaning", "added_information"}
    assert len(kept) == 8 and "id='layer1/code" in (done.folder / "codes.html").read_text()
    assert "no labels" in kept["meaning"].layout.title.text
    assert done.read("scores.json")["perplexity/1"] > 1
