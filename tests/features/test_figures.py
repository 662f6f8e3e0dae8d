"""Figures of stores and clips say what the data say."""

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from srcid.features import LabelInfo, audit
from srcid.features.clip_media import ClipMedia, clip_media
from srcid.features.figures import clip_view, store_overview
from srcid.style import INK, modality_colors
from tests.helpers import tiny_store
from tests.house import caption, check_house_style, title

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


def named(fig, name):
    return [trace for trace in fig.data if trace.name == name]


def grid(trace):
    """Values of a heat map; blanks are NaN."""
    return np.array(trace.z, float)


def scatters(fig, mode):
    return [trace for trace in fig.data if trace.type == "scatter" and trace.mode == mode]


@pytest.mark.parametrize("kind", ("store_overview", "clip_view"))
def test_every_figure_keeps_the_house_style(store, kind):
    draw = {
        "store_overview": lambda: store_overview(audit(store)),
        "clip_view": lambda: clip_view(store, 3, clip_media(store, 3)),
    }
    check_house_style(draw[kind]())


def test_overview_shows_the_counts_of_the_audit(store):
    found = audit(store)
    fig = store_overview(found)
    bar = next(trace for trace in fig.data if trace.type == "bar")
    assert dict(zip(bar.y, bar.x, strict=True)) == {s: len(rows) for s, rows in store.splits.items()}
    for split, rows in store.splits.items():
        expected = store.labels["event"][rows].any(axis=1).mean(axis=0)
        np.testing.assert_allclose(named(fig, split)[0].x, expected)


def test_overview_without_the_label_still_counts_clips(store):
    fig = store_overview(replace(audit(store), balance_counts={}))
    assert "40 clips" in title(fig)
    assert [trace.type for trace in fig.data] == ["bar"]


def bars_of(fig):
    return [trace for trace in fig.data if trace.type == "bar"]


def test_labels_lie_where_they_hold(store):
    steps = np.flatnonzero(store.labels["event"][3].any(axis=-1))
    (bars,) = bars_of(clip_view(store, 3))
    assert bars.base[0] == pytest.approx(steps[0] - 0.46) and bars.x[0] == pytest.approx(len(steps) - 0.08)


def test_private_labels_take_the_colour_of_their_modality(store):
    labels = {"event": store.labels["event"], "speaker": np.arange(40) % 3}
    info = {
        **store.label_info,
        "speaker": LabelInfo("speaker", "category", "clip", ("a", "b", "c"), ("third",)),
    }
    fake = SimpleNamespace(
        modalities=MODALITIES, steps=6, ids=store.ids, labels=labels, label_info=info, clips=40, labelled={},
        shapes=store.shapes, features=store.features, masks=store.masks,
    )  # fmt: skip
    fig = clip_view(fake, 4)
    colors = {row: trace.marker.line.color for trace in bars_of(fig) for row in trace.y}
    assert colors["speaker"] == modality_colors(MODALITIES)["third"]
    assert INK in colors.values()
    assert "speaker: third" in caption(fig)
    bar = next(trace for trace in bars_of(fig) if "speaker" in trace.y)
    assert bar.customdata[0][0] == "b" and bar.x[0] == pytest.approx(6 - 0.08)


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
    assert "40" not in title(clip_view(store, 5, media))
