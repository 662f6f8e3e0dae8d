"""Turning a code on tables whose truth is known: what must follow follows, and nothing else."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from srcid.evaluation.browser import CodeTurner
from srcid.evaluation.figures.scores import turning_figure
from srcid.evaluation.metrics import EvaluationError
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.turning import Turn, Turner
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table

CLIPS, STEPS = 120, 5
PARAMS = EvaluationParams(probe_seeds=1, probe_epochs=40, probe_lr=1e-2)


@pytest.fixture(scope="module")
def table():
    """Code 0 of layer 1 is class 0 and code 1 is class 1; codes 2 to 4 are background, at random. Layer 2 is noise.

    The general features that are kept are twice the code's vector, so that a quarter of their power is missed.
    """
    table = make_table(clips=CLIPS, steps=STEPS, classes=2)
    draw = np.random.default_rng(1)
    table.books = [draw.normal(size=(1, 5, 8)).astype(np.float32) * scale for scale in (3.0, 0.1)]
    truth = np.where(table.events.any(-1), table.events.argmax(-1), 2 + draw.integers(3, size=(CLIPS, STEPS)))
    for m in table.modalities:
        table.symbols[1, m] = truth[..., None]
        table.symbols[2, m] = draw.integers(5, size=(CLIPS, STEPS, 1))
        table.kept[1, m] = np.arange(CLIPS), 2 * table.quantized(1, m)
    return table


@pytest.fixture(scope="module")
def probes(table):
    found = fit_probes(table, PARAMS, representations=("all",))
    assert all(s.score == 100 for s in found.scores)
    return found


def of(turned, *tasks):
    return [e for e in turned.effects if e.task in tasks]


def test_a_code_that_means_a_class_takes_the_answer_with_it_and_random_codes_do_not(table, probes):
    turned = Turner(table, probes).turn(Turn(1, 0, 1), controls=3)
    steps = sum((table.code(1, m)[table.splits["test"]] == 0).sum() for m in table.modalities)
    assert sum(n for _, n in turned.counts.values()) == steps > 0
    assert turned.controls == (2, 3, 4)
    asked = of(turned, "classification")
    assert {(e.train, e.test) for e in asked} == {(a, b) for a in table.modalities for b in table.modalities}
    for e in asked:
        assert (e.before, e.after, e.moved.value, e.change.value) == (100, 0, 100, -100)
        assert e.moved.low > 50 and e.change.low >= -100 and e.change.high < -50
        assert e.moved.n == turned.counts[e.test][0]
    for e in of(turned, "localisation"):
        assert e.moved.value == e.control_moved.value == 100  # background that becomes a class is found to be one
    assert "4 of 8 directions of the probes move more than for random codes" in turned.finding
    assert "classification" in turned.finding


def test_random_codes_say_how_much_any_exchange_moves(table, probes):
    """Background codes turned into each other change no answer, whichever they are."""
    turned = Turner(table, probes).turn(Turn(1, 2, 3), controls=1)
    for e in of(turned, "classification", "localisation"):
        assert (e.before, e.after, e.moved.value, e.moved.low) == (100, 100, 0, 0)
        assert 0 < e.moved.high < 25 and e.change.low < 0 < e.change.high  # no clip moved, which is not: none can
    assert "0 of 8 directions" in turned.finding


def test_a_layer_of_noise_can_be_left_out_and_the_layer_that_carries_all_cannot(table, probes):
    noise, all_of_it = (Turner(table, probes).turn(Turn(layer)) for layer in (2, 1))
    assert all(e.moved.value == 0 for e in of(noise, "classification", "localisation"))
    assert all(e.after < 80 and e.change.high < 0 for e in of(all_of_it, "classification", "localisation"))
    assert noise.controls == () and not np.isfinite(noise.effects[0].control_moved.value)
    assert any("no random code" in note for note in noise.notes)
    clips = {m: (len(table.splits["test"]), len(table.splits["test"]) * STEPS) for m in table.modalities}
    assert all_of_it.counts == clips


def test_retrieval_and_reconstruction_follow_too(table, probes):
    turned = Turner(table, probes).turn(Turn(1, 0, 1))
    book = table.books[0][0]
    for e in of(turned, "reconstruction"):
        assert e.before == pytest.approx(25)
        rows = np.sort(table.splits["test"])
        codes = table.code(1, e.test)[rows]
        rows, codes = rows[(codes == 0).any(1)], codes[(codes == 0).any(1)]
        power = 4 * (book[codes] ** 2).sum((1, 2))
        missed = ((2 * book[codes] - book[np.where(codes == 0, 1, codes)]) ** 2).sum((1, 2))
        assert e.after == pytest.approx(100 * (missed / power).mean(), rel=1e-5)
        assert e.change.value == pytest.approx(e.after - e.before)
    assert {(e.train, e.test) for e in of(turned, "retrieval")} == {("audio", "video"), ("video", "audio")}
    assert all(e.after < e.before and e.moved.value > 10 for e in of(turned, "retrieval"))


def test_the_table_itself_stays_as_it_is(table, probes):
    before = {m: table.quantized(1, m).copy() for m in table.modalities}
    Turner(table, probes).turn(Turn(1, 0, 1))
    Turner(table, probes).turn(Turn(1))
    assert all(np.array_equal(before[m], table.quantized(1, m)) for m in table.modalities)


def test_one_clip_says_its_answers_before_and_after(table, probes):
    rows = np.sort(table.splits["test"])
    clip = int(next(r for r in rows if (table.code(1, "audio")[r] == 0).any()))
    steps = int((table.code(1, "audio")[clip] == 0).sum())
    answers = Turner(table, probes).clip(Turn(1, 0, 1), clip).set_index(["task", "train", "test"])
    whole = answers.loc[("classification", "audio", "video")]
    assert whole["before"].startswith("class 0 ") and whole["after"].startswith("class 1 ")
    assert answers.loc[("localisation", "video", "audio"), "after"].startswith(f"class 1 ({steps} of {steps} steps")
    other = int(next(r for r in rows if not (table.code(1, "audio")[r] == 0).any()))
    assert Turner(table, probes).clip(Turn(1, 0, 1), other).empty


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(3, 0, 1), "found layer 3; need one from 1 to 2"),
        (Turn(1, 0, 0), "found code 0 turned into itself"),
        (Turn(1, 9, 1), "code 9 of layer 1 is in no clip of split 'test'"),
        (Turn(1, 0, 9), "code 9 of layer 1 is in no clip, so its vector is not known"),
    ],
)
def test_what_cannot_be_turned_is_said(table, probes, turn, words):
    with pytest.raises(EvaluationError, match=words.replace("(", r"\(")):
        Turner(table, probes).turn(turn)


def test_the_figure_says_the_finding_and_has_a_mark_for_every_effect(table, probes):
    turned = Turner(table, probes).turn(Turn(1, 0, 1), controls=3)
    figure = turning_figure(turned, table.modalities)
    assert figure.layout.title.text.replace("<br>", " ") == turned.finding
    own = [t for t in figure.data if t.name == "code 0 of layer 1 turned into 1"]
    assert len(own[0].x) == len(of(turned, "classification", "localisation", "retrieval"))
    assert len(own[1].x) == len(turned.effects)
    assert "2, 3, 4" in figure.layout.annotations[-1].text


def test_answers_that_differ_in_how_sure_they_are_alone_are_the_same(table, probes, monkeypatch):
    view = CodeTurner(table, probes, code=0, into=1)
    before = ["five 25%", "five 25%", "nothing (2 of 2 steps, 46%)", "nothing (2 of 2 steps, 46%)", "38% of the power"]
    after = ["five 23%", "two 25%", "nothing (2 of 2 steps, 47%)", "nothing (1 of 2 steps, 46%)", "43% of the power"]
    frame = pd.DataFrame(dict(task="t", train="a", test="b", steps=2, before=before, after=after))
    monkeypatch.setattr(view, "frame", lambda: frame)
    view._tell()
    assert re.findall(">([=≠])<", view.answers.value) == ["=", "≠", "=", "≠", "≠"]


def test_the_browser_turns_what_is_chosen(table, probes):
    view = CodeTurner(table, probes, code=0, into=1)
    assert view.turned.turn == Turn(1, 0, 1) and view.view._frame[0].value.count("Code 0 of layer 1")
    assert "≠" in view.answers.value
    view.code.value = -1
    assert view.turned.turn == Turn(1) and view.into.disabled
    assert {trace.name for trace in view.view.data} == {"layer 1 left out"}  # the legend says what was done
    view.layer.value = 2
    assert view.turned.turn.layer == 2 and view.turned.turn.code >= 0
    view.into.value = view.code.value
    assert "turned into itself" in view.guard.message.value
    view.into.value = next(v for _, v in view.into.options if v not in (-1, view.code.value))
    assert view.guard.message.value == ""


def test_it_begins_with_codes_of_two_classes_though_background_is_more_frequent(table, probes):
    rows = table.splits["test"]
    use = np.bincount(np.concatenate([table.code(1, m)[rows].ravel() for m in table.modalities]), minlength=5)
    view = CodeTurner(table, probes)
    assert {view.code.value, view.into.value} == {0, 1} and set(np.argsort(-use)[:2]) != {0, 1}
    names = table.label_info["event"].classes
    assert {(f"code {c} · {names[c]}", c) for c in (0, 1)} <= set(view.into.options)
    assert sum("background" in text for text, _ in view.into.options) == 3


def test_clips_whose_event_is_unknown_are_not_turned(table, probes):
    known = np.zeros(CLIPS, bool)
    known[np.sort(table.splits["test"])[:12]] = True
    part = replace(table, labelled={"event": known})
    turned = Turner(part, probes).turn(Turn(2))
    assert {clips for clips, _ in turned.counts.values()} == {12}
    assert len(CodeTurner(part, probes, layer=2, code=0, into=1).clip.options) <= 12
    with pytest.raises(EvaluationError, match="found no labelled clip in split 'test'"):
        CodeTurner(replace(table, labelled={"event": np.zeros(CLIPS, bool)}), probes)
