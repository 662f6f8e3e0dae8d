"""Figures say what their data say, keep the meaning of colours, and need no network."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from srcid.codebook.figures.strips import code_strip
from srcid.codebook.figures.usage import usage_overview
from srcid.codebook.usage import code_usage, sharing
from srcid.evaluation.figures.scores import score_figure
from srcid.evaluation.probes import ProbeResults
from srcid.evaluation.tables import probe_summary
from srcid.features import LabelInfo, audit
from srcid.features.clip_media import ClipMedia, clip_media
from srcid.features.figures import clip_view, label_timelines, store_overview
from srcid.style import INK, OKABE_ITO, code_color, ink_on, modality_colors
from srcid.training.figures import headline, openings, series, training_curves, update_training_curves
from tests.helpers import tiny_store
from tests.house import caption, check_house_style

MODALITIES = ("first", "second", "third")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a masked step, words, pictures and one sound."""
    from scipy.io import wavfile

    folder = tmp_path_factory.mktemp("plots")
    wavfile.write(folder / "beep.wav", 8000, np.full(6000, 8192, np.int16))
    clips, steps = 40, 6
    masks = {"third": np.ones((clips, steps), bool)}
    masks["third"][3, 4:] = False
    empty = np.full((clips, steps), "", dtype="U20")
    media = {m: empty.copy() for m in MODALITIES}
    media["first"][3, 1] = "wav:beep.wav"
    media["second"][3, 2] = "digits:7"
    media["third"][3] = [f"word:w{t}" for t in range(steps)]
    media["first"][5, 0] = "wav:gone.wav"
    return tiny_store(folder / "store", masks=masks, media=media, media_root=folder)


@pytest.fixture(scope="module")
def table():
    """Codes of 30 clips in two layers; in clip 0 the first two modalities agree at step 0 of layer 1 only."""
    draw = np.random.default_rng(0)
    codes = {(k, m): draw.integers(0, 9, (30, 6)) for k in (1, 2) for m in MODALITIES}
    for layer in (1, 2):
        for place, m in enumerate(MODALITIES):
            codes[layer, m][0] = 10 * place + np.arange(6)
    codes[1, "second"][0, 0] = codes[1, "first"][0, 0]
    codes[1, "third"][0, 5] = codes[2, "third"][0, 5] = -1
    event = np.zeros((30, 6, 2), bool)
    event[0, 1:4, 1] = True
    return SimpleNamespace(
        modalities=MODALITIES,
        layers=2,
        stages=1,
        steps=6,
        clips=30,
        ids=np.array([f"clip-{i}" for i in range(30)]),
        labels={"event": event},
        label_info={"event": LabelInfo("event", "multilabel", "step", ("bark", "horn"), MODALITIES)},
        code=lambda layer, m: codes[layer, m],
        codes=lambda layer, m: codes[layer, m][..., None],
        distance=lambda layer, m: np.full((30, 6), 0.25),
        second=lambda layer, m: np.full((30, 6), 4),
    )


def metrics(steps=400, opened=200):
    """Lines as training writes them, every fifth step, with validation after each hundred."""
    lines = []
    for step in range(5, steps + 1, 5):
        layers = 1 + (step > opened)
        line = {"step": step, "epoch": step / 100, "loss/total": 100 / step, "layers_open": layers}
        for k in range(1, layers + 1):
            for m in MODALITIES:
                line |= {f"{q}/{k}/{m}": k + step / 100 for q in ("recon", "mi", "scale", "perplexity", "used")}
            line[f"agreement/{k}/first-second"] = 0.25
        if layers == 1:
            line |= {f"mi_smoothed/1/{m}": 3.0 for m in MODALITIES}
        else:
            line["opened_by/2"] = "settled"
        lines.append(line)
        if step % 100 == 0:
            lines.append({"step": step, "epoch": step / 100, "val/recon/1/first": 9.0})
    return lines


def summary(**changes):
    rows = [
        dict(
            run="", task=task, representation=name, train=a, test=b, same=a == b, metric="accuracy",
            score=score, seed_low=score - 1, seed_high=score + 1, clip_low=score - 3, clip_high=score + 3,
            seeds=5, clips=80, chance=chance,
        )
        for task, chance in (("classification", 10.0), ("localisation", 30.0))
        for name in ("all", "only1", "continuous")
        for a in MODALITIES
        for b in MODALITIES
        for score in [80.0 if a == b else 50.0]
    ]  # fmt: skip
    return pd.DataFrame([row | changes for row in rows])


@pytest.fixture(scope="module")
def figures(store, table):
    """Every kind of figure once."""
    layers = (1, 2)
    return {
        "store_overview": store_overview(audit(store)),
        "label_timelines": label_timelines(store, 3),
        "clip_view": clip_view(store, 3, clip_media(store, 3)),
        "training_curves": training_curves(metrics()),
        "code_strip": code_strip(table, 0),
        "usage_overview": usage_overview(
            [code_usage(table_codes(table, k), bootstrap=0) for k in layers],
            [sharing(table_codes(table, k)) for k in layers],
        ),
        "score_figure": score_figure(summary()),
    }


def table_codes(table, layer):
    return {m: table.code(layer, m) for m in table.modalities}


def named(fig, name):
    return [trace for trace in fig.data if trace.name == name]


def grid(trace):
    """Values of a heat map; blanks are NaN."""
    return np.array(trace.z, float)


def scatters(fig, mode):
    return [trace for trace in fig.data if trace.type == "scatter" and trace.mode == mode]


KINDS = (
    "store_overview", "label_timelines", "clip_view", "training_curves", "code_strip", "usage_overview",
    "score_figure",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_keeps_the_house_style(figures, kind):
    assert set(figures) == set(KINDS)
    check_house_style(figures[kind])


def test_a_modality_keeps_its_colour():
    colors = modality_colors(MODALITIES)
    assert list(colors.values()) == list(OKABE_ITO[:3])
    assert modality_colors(MODALITIES[:2]) == {m: colors[m] for m in MODALITIES[:2]}
    assert len(modality_colors([str(i) for i in range(20)])) == 20


def test_colours_of_modalities_and_text_read_on_light_and_dark():
    for color in [*modality_colors("abcd").values(), INK]:
        assert min(contrast(color, "#ffffff"), contrast(color, "#111111")) > 2.9


def contrast(a, b):
    def luminance(color):
        c = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_codes_have_stable_colours_that_their_numbers_read_on():
    assert code_color(7, 1) == code_color(7, 1) != code_color(7, 2)
    assert len({code_color(code) for code in range(400)}) > 390
    assert min(contrast(code_color(c), ink_on(code_color(c))) for c in range(400)) > 4


# -- data


def test_overview_shows_the_counts_of_the_audit(store):
    found = audit(store)
    fig = store_overview(found)
    bar = next(trace for trace in fig.data if trace.type == "bar")
    assert dict(zip(bar.y, bar.x, strict=True)) == {s: len(rows) for s, rows in store.splits.items()}
    for split, rows in store.splits.items():
        expected = store.labels["event"][rows].any(axis=1).mean(axis=0)
        np.testing.assert_allclose(named(fig, split)[0].x, expected)


def test_overview_without_the_label_still_counts_clips(store):
    fig = store_overview(audit(store), label="nothing")
    assert "40 clips" in fig.layout.title.text
    assert [trace.type for trace in fig.data] == ["bar"]


def test_timelines_lie_where_the_labels_hold(store):
    fig = label_timelines(store, 3)
    steps = np.flatnonzero(store.labels["event"][3].any(axis=-1))
    (bars,) = fig.data
    assert bars.base[0] == pytest.approx(steps[0] - 0.46) and bars.x[0] == pytest.approx(len(steps) - 0.08)
    assert "1 event in 6 steps" in fig.layout.title.text


def test_private_labels_take_the_colour_of_their_modality(store):
    labels = {"event": store.labels["event"], "speaker": np.arange(40) % 3}
    info = {
        **store.label_info,
        "speaker": LabelInfo("speaker", "category", "clip", ("a", "b", "c"), ("third",)),
    }
    fake = SimpleNamespace(modalities=MODALITIES, steps=6, ids=store.ids, labels=labels, label_info=info, clips=40)
    fig = label_timelines(fake, 4)
    colors = {row: trace.marker.line.color for trace in fig.data for row in trace.y}
    assert colors["speaker"] == modality_colors(MODALITIES)["third"]
    assert INK in colors.values()
    assert "speaker: third" in caption(fig)
    bar = next(trace for trace in fig.data if "speaker" in trace.y)
    assert bar.customdata[0][0] == "b" and bar.x[0] == pytest.approx(6 - 0.08)


def test_a_store_without_labels_says_so(store):
    fake = SimpleNamespace(modalities=MODALITIES, steps=6, ids=store.ids, labels={}, label_info={})
    assert "no labels" in label_timelines(fake, 0).layout.title.text


def test_clip_view_shows_the_features_as_they_are(store):
    fig = clip_view(store, 3)
    vector, strip, masked = (trace for trace in fig.data if trace.type == "heatmap")
    np.testing.assert_allclose(grid(vector), store.features["first"][3].T, atol=1e-4)
    assert np.isnan(grid(masked)[:, 4:]).all() and np.isfinite(grid(masked)[:, :4]).all()
    height, width = store.shapes["second"][:2]
    x, z = np.asarray(strip.x), grid(strip)
    assert z.shape == (height, 6 * (width + 1))
    for step in range(6):
        inside = np.flatnonzero((abs(x - step) < 0.47) & np.isfinite(z[0]))
        expected = np.sqrt((store.features["second"][3, step].astype(float) ** 2).mean(axis=-1))
        np.testing.assert_allclose(z[:, inside], expected, atol=1e-4)
    assert "missing in third" in caption(fig)


def test_media_of_a_clip_are_heard_seen_and_read(store):
    media = clip_media(store, 3)
    samples, rate = media.sounds["first"]
    slot = 6000  # the recording is longer than half a second
    assert rate == 8000 and samples.shape == (6 * slot,)
    assert samples[slot : 2 * slot].min() == pytest.approx(0.25) and not samples[2 * slot :].any()
    assert [p is not None for p in media.pictures["second"]] == [False, False, True, False, False, False]
    assert media.words == {"third": [f"w{t}" for t in range(6)]}
    assert media.problems == ()
    fig = clip_view(store, 3, media)
    assert sum(trace.type == "heatmap" for trace in fig.data) == 4
    assert scatters(fig, "text")[0].text[:2] == ("w0", "w1")


def test_media_that_are_gone_are_named_and_nothing_fails(store):
    media = clip_media(store, 5)
    assert len(media.problems) == 1 and "first, step 0" in media.problems[0] and "gone.wav" in media.problems[0]
    assert dataclasses.replace(media, problems=()) == ClipMedia()
    assert "40" not in clip_view(store, 5, media).layout.title.text


# -- training


def test_series_average_in_bins_and_leave_out_what_is_not_finite():
    lines = [{"step": s, "a": float(s)} for s in range(1, 11)] + [
        {"step": 11, "a": float("nan")},
        {"step": 12},
    ]
    assert series(lines, "a", points=100) == ([float(s) for s in range(1, 11)],) * 2
    steps, values = series(lines, "a", points=5)
    assert steps == values == [1.5, 3.5, 5.5, 7.5, 9.5]
    assert series(lines, "b") == ([], [])


def test_the_opening_of_a_layer_is_found_and_marked():
    assert openings(metrics()) == {2: 205}
    assert openings([{"step": 0, "layers_open": 2}]) == {}  # open from the start: nothing to mark
    fig = training_curves(metrics())
    assert {shape.x0 for shape in fig.layout.shapes} == {205}
    assert len(fig.layout.shapes) == 14
    assert "layer 2 opened at step 205 (information has stopped falling" in " ".join(
        fig.layout.title.text.split("<br>")
    )
    assert not training_curves(metrics(opened=1000)).layout.shapes


def test_the_headline_says_loss_and_agreement():
    text = headline(metrics(), MODALITIES)
    assert "loss 20 → 0.25" in text and "25%" in text
    assert "waiting" in headline([], MODALITIES)


def test_curves_hold_the_metrics_in_the_colours_of_their_modalities():
    fig = training_curves(metrics(), points=1000)
    colors = modality_colors(MODALITIES)
    for m in MODALITIES:
        curve = next(trace for trace in named(fig, m) if trace.yaxis == "y2")  # reconstruction
        assert curve.line.color == colors[m] and curve.line.dash == "solid"
        assert curve.y[0] == pytest.approx(1.05) and len(curve.y) == 80
        assert any(set(trace.y) == {3.0} and trace.line.width > 2 for trace in named(fig, m))  # the smoothed MI
    assert list(named(fig, "validation")[0].y) == [9.0] * 4
    second = [trace for trace in named(fig, "first") if trace.line.dash == "dash"]
    assert len(second) == 8 and min(second[0].x) == 205


def test_updating_gives_the_figure_that_drawing_anew_gives():
    early = training_curves([], MODALITIES, layers=2)
    assert all(not trace.x for trace in early.data if trace.x != (None,))
    update_training_curves(early, metrics(), MODALITIES, layers=2)
    assert early.to_plotly_json() == training_curves(metrics(), MODALITIES, layers=2).to_plotly_json()


def test_modalities_and_layers_are_read_from_the_metrics():
    assert training_curves(metrics()).to_plotly_json() == training_curves(metrics(), MODALITIES, 2).to_plotly_json()


def test_long_runs_stay_light():
    fig = training_curves(metrics(steps=20_000), points=100)
    assert max(len(trace.x) for trace in fig.data) <= 101
    assert sum(len(trace.x) for trace in fig.data) < 10_000


# -- codes


def test_the_strip_shows_numbers_outlines_agreement_and_leaves_missing_steps_blank(table):
    fig = code_strip(table, 0)
    numbers = scatters(fig, "text")[0]
    shown = dict(zip(zip(numbers.x, numbers.y, strict=True), numbers.text, strict=True))
    assert shown[0, 0] == shown[0, 1] == "0" and shown[3, 2] == "23"
    assert (5, 2) not in shown  # missing
    outline = scatters(fig, "lines")[0]
    assert {round(x) for x in outline.x if x is not None} == {0}  # step 0 only
    assert {round(y) for y in outline.y if y is not None} == {0, 1}  # the first two modalities
    first = next(trace for trace in fig.data if trace.type == "heatmap")
    assert np.isnan(grid(first)[2, 5]) and np.isfinite(grid(first)[2, 4])
    assert "6%" in fig.layout.title.text  # 1 of 6 + 5 + 5 pairs
    assert "code 0" in first.customdata[0][0] and "second nearest: 4" in first.customdata[0][0]
    assert "distance 0.25" in first.customdata[0][0]


def test_a_code_has_the_same_colour_in_every_clip(table):
    def colors(clip):
        fig = code_strip(table, clip)
        heat = next(trace for trace in fig.data if trace.type == "heatmap")
        present = np.unique(np.stack([table.code(1, m)[clip] for m in MODALITIES]))
        present = present[present >= 0]
        return dict(zip(present.tolist(), [color for _, color in heat.colorscale][::2], strict=True))

    one, two = colors(1), colors(2)
    assert len(one.keys() & two.keys()) >= 3
    assert all(one[code] == two[code] == code_color(code, 1) for code in one.keys() & two.keys())


def test_the_identity_quantiser_has_no_strip(table):
    fig = code_strip(SimpleNamespace(**{**vars(table), "stages": 0}), 0)
    assert "identity" in fig.layout.title.text and not fig.data
    assert "identity" in usage_overview([], []).layout.title.text


def test_usage_shows_shares_by_rank_and_blanks_for_codes_a_modality_never_uses():
    codes = {"first": np.array([[0, 0, 0, 1]]), "second": np.array([[0, 2, 2, 2]])}
    fig = usage_overview([code_usage(codes, bootstrap=0)], [sharing(codes)])
    assert list(named(fig, "first")[0].y) == [0.75, 0.25]
    heat = [trace for trace in fig.data if trace.type == "heatmap"]
    np.testing.assert_allclose(grid(heat[0])[0] ** 2, [0.75, np.nan, 0.25])
    np.testing.assert_allclose(grid(heat[1])[1] ** 2, [0.25, 0.75, np.nan])
    assert "1 of 3 used codes shared by all modalities" in fig.layout.title.text
    assert [shape.x0 for shape in fig.layout.shapes] == [1.5]


# -- scores


def test_scores_lie_where_the_summary_says_with_intervals_and_chance():
    fig = score_figure(summary())
    dots = scatters(fig, "markers")
    assert len(dots) == 6 and all(len(trace.x) == 9 for trace in dots)
    assert {shape.x0 for shape in fig.layout.shapes} == {10.0, 30.0}
    thick = [trace for trace in fig.data if trace.line.width == 3]
    assert {tuple(thick[0].x[i : i + 2]) for i in range(0, 27, 3)} == {(49.0, 51.0), (79.0, 81.0)}
    assert "50 % across modalities, 80 % within (chance 10 %)" in fig.layout.title.text
    assert "5 probe seeds" in caption(fig)
    rows = [text.count("first") for text in fig.layout.yaxis.ticktext]
    assert rows.index(2) >= 6  # same-modality directions come last


def test_a_single_seed_has_no_interval_over_seeds_and_still_draws():
    fig = score_figure(summary(seed_low=float("nan"), seed_high=float("nan")))
    assert len(scatters(fig, "markers")) == 6
    json.loads(fig.to_json())


def test_no_scores_are_said_in_words():
    assert score_figure(summary().iloc[:0]).layout.title.text.startswith("No scores: the notes")
    nothing = ProbeResults((), {}, (), MODALITIES, {}, {}, ("split 'test' is missing.", "Mind the gap."))
    fig = score_figure(probe_summary(nothing), MODALITIES, nothing.notes)
    assert fig.layout.title.text == "No scores: split 'test' is missing. Mind the gap."
    assert not fig.data
