"""Figures of classes, thresholds, timelines and retrieval say what their results say."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from srcid.evaluation.browser import RetrievalGallery, sound_rows
from srcid.evaluation.details import ClassConfusion, ClassScores, class_confusion, class_scores, timelines
from srcid.evaluation.figures.gallery import retrieval_gallery
from srcid.evaluation.figures.scores import class_scores_figure, confusion_figure
from srcid.evaluation.figures.timelines import timeline_figure
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.retrieval import code_retrieval, gallery
from srcid.features.clip_media import ClipMedia
from srcid.params import EvaluationParams
from srcid.statistics import Interval
from srcid.style import empty_figure, figure_or_reason
from tests.evaluation.fake import make_table
from tests.house import caption


@pytest.fixture(scope="module")
def judged():
    table = make_table(clips=240, noise=0.1, two_events=0.3)
    params = EvaluationParams(probe_seeds=1, probe_epochs=25, probe_lr=1e-2, probe_batch=40)
    return table, fit_probes(table, params, representations=("all",))


@pytest.fixture(scope="module")
def figures(judged):
    table, results = judged
    (score, _) = code_retrieval(table, ("all",)).scores
    return {
        "classes": class_scores_figure(class_scores(results, table)),
        "confusion": confusion_figure(class_confusion(results, table)),
        "timelines": timeline_figure(timelines(results, table)),
        "gallery": retrieval_gallery(gallery(score), table),
    }


@pytest.mark.parametrize("name", ["classes", "confusion", "timelines", "gallery"])
def test_figures_have_a_title_a_caption_and_no_nan(figures, name):
    fig = figures[name]
    assert fig.layout.title.text and len(caption(fig)) > 60
    assert "NaN" not in json.dumps(json.loads(fig.to_json()))
    assert not any(isinstance(trace, go.Scattergl) for trace in fig.data)


def test_classes_are_in_order_of_their_score(judged, figures):
    scores = class_scores(judged[1], judged[0])
    fig = figures["classes"]
    (across,) = [t for t in fig.data if t.name == "on modalities it has never seen"]
    assert list(across.x) == sorted((cell.value for cell in scores.across), reverse=True)
    first = fig.layout.yaxis.ticktext[0]
    assert first.startswith(scores.frame().index[0])


def test_a_class_that_never_occurs_is_drawn_without_a_score():
    nothing, half = Interval(np.nan, np.nan, np.nan), Interval(50, 50, 50)
    scores = ClassScores(("dog", "cat"), (half, nothing), (nothing, nothing), (4, 0), "localisation", "all", 9)
    fig = class_scores_figure(scores)
    assert [list(t.x) for t in fig.data if t.mode == "markers"] == [[50.0, None]]


def test_confusion_shows_shares_of_the_true_class(figures, judged):
    counts = class_confusion(judged[1], judged[0]).counts
    (heat,) = figures["confusion"].data
    shown = np.array(heat.z, float)
    np.testing.assert_allclose(shown, counts / counts.sum(1, keepdims=True), atol=1e-4)
    none = ClassConfusion(("a", "b"), np.zeros((2, 2), int), "clips", "classification", "all", "across", 1)
    assert "No clips were scored" in confusion_figure(none).layout.title.text


def test_timelines_draw_truth_and_tell_right_from_wrong(judged, figures):
    table, results = judged
    lines = timelines(results, table)
    fig = figures["timelines"]
    drawn = {
        name: sum(len(t.x) for t in fig.data if t.name == name)
        for name in ("true", "predicted, right", "predicted, wrong")
    }
    assert drawn["true"] >= len(lines)
    right = wrong = 0
    for line in lines:
        for pair, said in line.said.items():
            if pair[0] != pair[1]:
                bad = (said & ~line.truth).any(-1)
                right += (said[~bad].any(-1)).sum()
                wrong += bad.sum()
    assert (drawn["predicted, right"] > 0) == (right > 0) and (drawn["predicted, wrong"] > 0) == (wrong > 0)
    codes = [t for t in fig.data if t.text and all(str(x).isdigit() for x in t.text)]
    assert len(codes) == len(lines) * 2 * table.layers
    assert "no clip" in timeline_figure(()).layout.title.text


def test_right_answers_are_framed_and_ticked(judged, figures):
    table, _ = judged
    (score, _) = code_retrieval(table, ("all",)).scores
    chosen = gallery(score)
    fig = figures["gallery"]
    widths = [axis.linewidth for axis in fig.select_xaxes()]
    frames = np.array(widths).reshape(len(chosen.queries), -1)
    np.testing.assert_array_equal(frames[:, 1:] == 3, chosen.right)
    ticked = [note.text.startswith("✓") for note in fig.layout.annotations if note.name != "caption"]
    np.testing.assert_array_equal(np.array(ticked).reshape(len(chosen.queries), -1)[:, 1:], chosen.right)
    assert "no media of audio and video" in caption(fig)


def test_media_are_shown_and_played(judged):
    table, _ = judged
    (score, _) = code_retrieval(table, ("all",)).scores
    chosen = gallery(score, queries=2, top=2)
    beep = (np.full(800, 0.5, np.float32), 8000)
    media = {
        int(clip): ClipMedia(pictures={"video": [None, np.eye(4), None]}, sounds={"audio": beep})
        for clip in [*chosen.queries, *chosen.hits.ravel()]
    }
    fig = retrieval_gallery(chosen, table, media)
    assert sum(isinstance(t, go.Heatmap) for t in fig.data) == 4
    assert sum(isinstance(t, go.Scatter) and t.fill == "toself" for t in fig.data) == 2
    assert "no media" not in caption(fig)
    assert [row.count("<audio") for row in sound_rows(chosen, media)] == [1, 1]
    assert sound_rows(chosen, {}) == []


def test_the_live_gallery_follows_the_chosen_direction(judged):
    table, _ = judged
    results = code_retrieval(table, ("all", "only1"))
    live = RetrievalGallery(results, table, direction=("video", "audio"))
    before = live.view.layout.title.text
    assert before == live.figure().layout.title.text and before.startswith("Video asks")
    live.direction.value = ("audio", "video", "only1")
    assert live.view.layout.title.text.startswith("Audio asks") and live.guard.message.value == ""
    with pytest.raises(ValueError, match="found no retrieval scores"):
        RetrievalGallery(results, table, direction=("audio", "smell"))


def test_a_figure_that_cannot_be_drawn_says_why():
    def fails():
        raise ValueError("found nothing; need something")

    assert figure_or_reason(fails).layout.title.text == "found nothing; need something"
    assert figure_or_reason(lambda: empty_figure("fine")).layout.title.text == "fine"
