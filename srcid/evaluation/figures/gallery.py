"""Zero-shot retrieval to look at: queries, and the clips of another modality that lie nearest to each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.features.clip_media import ClipMedia, clip_media
from srcid.style import INK, code_color, empty_figure, fade, finish, heat_scale, modality_colors
from srcid.symbols import known_of

_ROW, _GAP = 74, 34  # pixels of a row, and between rows for the titles
_POINTS = 240  # of a drawn sound
_LETTERS = 24  # of a line of words
_BARE = dict(showticklabels=False, ticks="", showgrid=False, zeroline=False)  # an axis that is a frame only


def gallery_media(gallery: Any, store: Any) -> dict[int, ClipMedia]:
    """Read what there is to see, hear and read in the clips of a gallery, by row; nothing without a store."""
    if store is None or not store.media:
        return {}
    return {int(clip): clip_media(store, int(clip)) for clip in np.unique([*gallery.queries, *gallery.hits.ravel()])}


def retrieval_gallery(gallery: Any, table: Any, media: Mapping[int, ClipMedia] | None = None) -> go.Figure:
    """Draw queries in the first column and what was found for each in the others, best first; right ones are framed.

    A clip is shown by its pictures, its sound or its words, where ``media`` has them; else by its codes of layer 1.

    Args:
        gallery: of :func:`srcid.evaluation.retrieval.gallery`.
        table: the code table that it is of.
        media: by row of the table, what :func:`srcid.features.clip_media.clip_media` read.
    """
    count, top = gallery.hits.shape
    if not count:
        return empty_figure("no query was asked: there is nothing to show")
    media = media or {}
    colors = modality_colors(table.modalities)
    total = count * _ROW + (count - 1) * _GAP
    titles = []
    for query, hits, right, rank in zip(gallery.queries, gallery.hits, gallery.right, gallery.ranks, strict=True):
        titles.append(f"<b>{_events(table, query)}</b> (partner at {rank:.0f})")
        titles += [("✓ " if ok else "") + _events(table, hit) for hit, ok in zip(hits, right, strict=True)]
    grid = make_subplots(
        count,
        1 + top,
        column_widths=[1.25, *[1] * top],
        horizontal_spacing=0.016,
        vertical_spacing=_GAP / total if count > 1 else 0,
        subplot_titles=titles,
    ).layout.to_plotly_json()  # plain dictionaries: plotly checks thirty panels at once much faster than one by one
    for note in grid["annotations"]:
        note.update(font=dict(size=10.5, color=INK), yshift=2)
    cells = []
    for query, hits, right in zip(gallery.queries, gallery.hits, gallery.right, strict=True):
        cells += [
            (query, gallery.query, False),
            *((hit, gallery.target, ok) for hit, ok in zip(hits, right, strict=True)),
        ]
    traces = []
    for place, (clip, modality, ok) in enumerate(cells, start=1):
        number = "" if place == 1 else place
        trace, spans = _clip(table, int(clip), modality, media.get(int(clip), ClipMedia()), colors[modality])
        traces.append(dict(trace, xaxis=f"x{number}", yaxis=f"y{number}", showlegend=False))
        frame = dict(showline=True, mirror=True, linewidth=3 if ok else 1, linecolor=INK if ok else fade(INK, 0.35))
        for axis in "xy":
            grid[f"{axis}axis{number}"].update(_BARE | frame | spans.get(axis, {}))
    fig = go.Figure(traces, grid)
    found = int(gallery.right.any(1).sum())
    coded = [m for m in dict.fromkeys((gallery.query, gallery.target)) if not any(_shows(c, m) for c in media.values())]
    title = (
        f"{gallery.query.capitalize()} asks, {gallery.target} answers: partner among the first {top} for {found} "
        f"of these {count}; median rank {gallery.median_rank:.0f} of {gallery.candidates}"
    )
    caption = (
        f"Left: queries, evenly from best to worst rank of the partner (of ties, the expected place). "
        f"Right: the nearest clips in {gallery.target} by cosine of time-pooled codes ({gallery.representation}), best "
        "first; thick frame and ✓: the partner. Titles: true events, which nothing here was told. Others may show the "
        "same events and still count as wrong."
        + (f" There are no media of {' and '.join(coded)}: colours are their codes of layer 1." if coded else "")
    )
    return finish(fig, title, caption, height=total, top=64, bottom=20, left=20)


def _events(table: Any, clip: int) -> str:
    """Names of the events of a clip, in order of time."""
    label = table.labels.get("event")
    if label is None:
        return f"clip {clip}"
    if not known_of(table, "event", np.array([clip])).any():
        return "unlabelled"
    steps = np.asarray(label[clip], bool)
    order = sorted(np.flatnonzero(steps.any(0)), key=lambda c: int(steps[:, c].argmax()))
    text = ", ".join(str(table.label_info["event"].classes[c]) for c in order) or "no event"
    return text if len(text) <= 24 else text[:23] + "…"


def _shows(media: ClipMedia, modality: str) -> bool:
    return modality in media.pictures or modality in media.sounds or any(media.words.get(modality, ()))


def _clip(table: Any, clip: int, modality: str, media: ClipMedia, color: str) -> tuple[dict, dict]:
    """Return a trace that shows a clip, and what its axes need."""
    if modality in media.pictures:
        return _pictures(media.pictures[modality], color)
    if modality in media.sounds:
        return _sound(*media.sounds[modality], color)
    if any(media.words.get(modality, ())):
        return _words(media.words[modality], color)
    return _codes(table, clip, modality)


def _pictures(pictures: list[np.ndarray | None], color: str) -> tuple[dict, dict]:
    """Lay the pictures of all steps out in two rows."""
    shape = next((np.shape(p) for p in pictures if p is not None), (1, 1))
    frames = [np.zeros(shape) if p is None else np.asarray(p) for p in pictures]
    frames = [np.pad(frame, ((0, 1), (0, 1))) for frame in frames]
    half = -(-len(frames) // 2)
    frames += [np.zeros_like(frames[0])] * (2 * half - len(frames))
    image = np.concatenate([np.concatenate(frames[:half], 1), np.concatenate(frames[half:], 1)]).astype(np.float32)
    look = dict(colorscale=heat_scale(color, signed=False), showscale=False, hoverinfo="skip")
    return dict(type="heatmap", z=image, **look), dict(y=dict(autorange="reversed"))


def _sound(samples: np.ndarray, rate: int, color: str) -> tuple[dict, dict]:
    """Draw the envelope of a sound."""
    parts = np.array_split(np.asarray(samples, float), min(_POINTS, max(len(samples), 1)))
    high = np.array([np.abs(part).max() if len(part) else 0.0 for part in parts])
    x = np.linspace(0, len(samples) / rate, len(high))
    line = dict(
        x=np.round(np.concatenate([x, x[::-1]]), 3),
        y=np.round(np.concatenate([high, -high[::-1]]), 3),
        line=dict(color=color, width=0.6),
        fillcolor=fade(color, 0.6),
    )
    return dict(type="scatter", mode="lines", fill="toself", hoverinfo="skip", **line), {}


def _words(words: list[str], color: str) -> tuple[dict, dict]:
    said = " ".join(word for word in words if word)
    lines = textwrap.wrap(said, _LETTERS, max_lines=5, placeholder=" …")
    text = dict(text=["<br>".join(lines)], textfont=dict(size=9.5, color=color), hovertext=said)
    around = dict(range=[-1, 1])
    return dict(type="scatter", mode="text", x=[0], y=[0], hoverinfo="text", **text), dict(x=around, y=around)


def _codes(table: Any, clip: int, modality: str) -> tuple[dict, dict]:
    """Show the codes of layer 1, or that there are none."""
    if not getattr(table, "stages", 1):
        return _words(["no", "codes"], INK)
    codes = [(step, int(code)) for step, code in enumerate(table.code(1, modality)[clip]) if code >= 0]
    bars = dict(
        x=[step for step, _ in codes],
        y=[1] * len(codes),
        width=0.9,
        marker=dict(color=[code_color(code) for _, code in codes], line_width=0),
        customdata=[code for _, code in codes],
        hovertemplate="step %{x}: code %{customdata}<extra>" + modality + "</extra>",
    )
    return dict(type="bar", **bars), dict(x=dict(range=[-0.6, table.steps - 0.4]), y=dict(range=[0, 1]))
