"""What is in a store: counts and classes, labels over time, one clip in all its modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import TIME_BARS, side_by_side, stack
from srcid.features.audit import StoreAudit
from srcid.features.clip_media import ClipMedia
from srcid.style import (
    FAINT,
    INK,
    SYMBOLS,
    blanks,
    fade,
    finish,
    heat_scale,
    modality_colors,
)

_CELL = 0.92  # share of a step's width that a picture fills


@dataclass(frozen=True)
class Bar:
    """A stretch of one label: row ``row``, from step ``start`` (0-based) for ``length`` steps."""

    row: str
    start: int
    length: int
    text: str
    color: str


def store_overview(audit: StoreAudit) -> go.Figure:
    """Draw clips per split, and the share of each split's clips that show each class of ``event``, where it is kept."""
    sizes, shares = audit.used, audit.shares()
    titles = ["clips by split", "clips by class of 'event'"]
    fig = side_by_side(titles, column_widths=[0.32, 0.68], horizontal_spacing=0.16)
    fig.add_bar(
        y=list(sizes),
        x=list(sizes.values()),
        orientation="h",
        text=[f"{n:,}" for n in sizes.values()],
        textposition="auto",
        textangle=0,
        cliponaxis=False,
        marker_color=INK,
        insidetextfont_color="#ffffff",
        hovertemplate="%{y}: %{x:,} clips<extra></extra>",
        showlegend=False,
        row=1,
        col=1,
    )
    for place, (name, split) in enumerate(shares.iterrows()):
        fig.add_scatter(
            x=split.to_numpy(),
            y=list(shares.columns),
            mode="markers",
            name=name,
            row=1,
            col=2,
            marker=dict(
                symbol=SYMBOLS[place % len(SYMBOLS)] + ("-open" if place else ""),
                size=9,
                color=INK,
                line_width=1.6,
            ),
            hovertemplate="%{y}: %{x:.1%} of the " + name + " clips<extra></extra>",
        )
    fig.update_xaxes(title_text="clips", row=1, col=1)
    fig.update_xaxes(title_text="share of the split's clips", tickformat=".0%", rangemode="tozero", row=1, col=2)
    fig.update_yaxes(autorange="reversed", showgrid=False)
    fig.update_yaxes(showgrid=True, type="category", row=1, col=2)
    fig.update_layout(legend=dict(orientation="h", x=1, xanchor="right", y=1, yanchor="bottom", yref="paper"))
    caption = "A clip counts for every class that occurs in it; shares need not add up to one."
    height = max(150, 24 * max(len(shares.columns), len(sizes)) + 40)
    return finish(fig, audit.finding, caption, height=height, top=80)


def clip_view(store: Any, clip: int, media: ClipMedia | None = None) -> go.Figure:
    """Draw one clip in all its modalities over a common time axis, with its labels on top.

    Vectors are a heat strip, grids a strip of small pictures (root mean square over channels).

    Args:
        store: a feature store.
        clip: row of the store.
        media: what ``clip_media`` read; its pictures and words are shown below the features.
    """
    media = media or ClipMedia()
    colors = modality_colors(store.modalities)
    bars, rows = label_bars(store, clip)
    panels: list[tuple[str, str, int]] = [("labels", "", 16 + 19 * len(rows))] if rows else []
    for m in store.modalities:
        panels.append((m, "grid", 96) if len(store.shapes[m]) == 3 else (m, "vector", 110))
        panels += [(m, "picture", 84)] if m in media.pictures else []
        panels += [(m, "words", 24)] if m in media.words else []
    heights = [pixels for *_, pixels in panels]
    fig, total = stack(heights, None, 16, shared_xaxes=True)
    for place, (m, kind, _) in enumerate(panels, start=1):
        here = dict(row=place, col=1)
        if m == "labels" and not kind:
            add_label_bars(fig, bars, rows, **here)
        elif kind == "words":
            _add_words(fig, media.words[m], colors[m], here)
        else:
            _add_strip(fig, store, clip, m, kind, media.pictures.get(m), colors[m], here)
    step_axis(fig, store.steps)
    fig.update_xaxes(showgrid=False)
    missing = [m for m in store.modalities if not np.asarray(store.masks[m][clip]).all()]
    title = f"Clip {clip_name(store, clip)}: {store.steps} steps in {len(store.modalities)} modalities"
    caption = (
        "Features are shaded up to their 98th percentile in the clip (grey: negative), by feature number; "
        "grids show the root mean square over channels."
        + (f" Blank steps are missing in {', '.join(missing)}." if missing else "")
        + (" Pictures: brightness." if media.pictures else "")
        + (" " + label_caption(store) if rows else "")
    )
    return finish(fig, title, caption, height=total, left=130)


def _add_words(fig: go.Figure, words: Sequence[str], color: str, here: dict) -> None:
    fig.add_scatter(
        x=np.arange(len(words)),
        y=np.zeros(len(words)),
        text=list(words),
        mode="text",
        textfont=dict(color=color, size=12),
        hoverinfo="skip",
        showlegend=False,
        **here,
    )
    fig.update_yaxes(visible=False, range=[-1, 1], **here)
    fig.update_xaxes(showgrid=False, showline=False, **here)


def _add_strip(
    fig: go.Figure, store: Any, clip: int, modality: str, kind: str, pictures: Any, color: str, here: dict
) -> None:
    """Add one modality's features, or its pictures, one a step."""
    axis = dict(title=dict(text=modality, font=dict(color=color, size=13)), showgrid=False, zeroline=False)
    features = np.asarray(store.features[modality][clip], dtype=np.float64)
    features[~np.asarray(store.masks[modality][clip], dtype=bool)] = np.nan
    if kind == "vector":
        fig.add_trace(_heat(np.arange(store.steps), features.T, color, modality), **here)
        fig.update_yaxes(nticks=4, **axis, **here)
        return
    if kind == "picture":
        shape = next(np.shape(picture) for picture in pictures if picture is not None)
        frames = np.stack([np.full(shape, np.nan) if p is None else np.asarray(p, float) for p in pictures])
        axis["title"]["text"] = "picture"
    else:
        frames = np.sqrt(np.mean(features**2, axis=-1))
    fig.add_trace(_heat(*_side_by_side(frames), color, modality), **here)
    fig.update_yaxes(showticklabels=False, ticks="", showline=False, autorange="reversed", **axis, **here)


def clip_name(store: Any, clip: int) -> str:
    """Return the row of a clip and, where it has one, its id."""
    return f"{clip} ({store.ids[clip]})" if len(store.ids) else str(clip)


def _side_by_side(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x positions and one image ``[height, columns]`` of pictures ``[steps, height, width]``."""
    steps, height, width = frames.shape
    # a column of gaps after each picture keeps neighbours apart
    image = np.concatenate([frames, np.full((steps, height, 1), np.nan)], axis=2)
    within = np.append((np.arange(width) + 0.5) / width * _CELL - _CELL / 2, 0.5)
    x = (np.arange(steps)[:, None] + within).ravel()
    return x, image.transpose(1, 0, 2).reshape(height, -1)


def _heat(x: np.ndarray, values: np.ndarray, color: str, name: str) -> go.Heatmap:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [2, 98]) if finite.size else (0.0, 1.0)
    signed = bool(low < 0)
    bound = max(abs(low), abs(high), 1e-9)
    return go.Heatmap(
        x=x,
        z=blanks(np.round(values, 4)),
        zmin=-bound if signed else 0,
        zmax=bound,
        showscale=False,
        colorscale=heat_scale(color, signed),
        hoverongaps=False,
        hovertemplate="step %{x:.0f}, row %{y}: %{z:.3g}<extra>" + name + "</extra>",
    )


def label_bars(store: Any, clip: int) -> tuple[list[Bar], list[str]]:
    """Return the labels of a clip as bars, and their rows from top to bottom."""
    colors, bars, rows = modality_colors(store.modalities), [], []
    for name, info in store.label_info.items():
        values = np.asarray(store.labels[name][clip])
        seen_in = tuple(info.visible_in or store.modalities)
        color = colors[seen_in[0]] if len(seen_in) == 1 else INK
        if info.level == "clip":
            values = np.broadcast_to(values, (store.steps, *values.shape))
        if info.kind == "multilabel":
            known = np.broadcast_to(store.labelled.get(name, np.ones(store.clips, bool))[clip], store.steps)
            active = [(str(info.classes[c]), values[:, c]) for c in range(values.shape[1]) if values[:, c].any()]
            for cls, steps in active:
                rows.append(cls if cls.startswith(name) else f"{name}: {cls}")
                bars += [Bar(rows[-1], start, n, cls, color) for start, n, on in stretches(steps) if on]
            if not known.all():
                rows.append(f"{name}: unlabelled")
                bars += [Bar(rows[-1], start, n, "unlabelled", FAINT) for start, n, on in stretches(~known) if on]
            elif not active:
                rows.append(f"{name}: none")
            continue
        columns = values.reshape(store.steps, -1)
        for d in range(columns.shape[1]):
            rows.append(name if columns.shape[1] == 1 else f"{name}[{d}]")
            for start, n, value in stretches(columns[:, d]):
                if value < 0 if info.kind == "category" else np.isnan(value):
                    continue
                text = str(info.classes[int(value)]) if info.kind == "category" and info.classes else f"{value:.3g}"
                bars.append(Bar(rows[-1], start, n, text, color))
    return bars, rows


def stretches(values: np.ndarray) -> list[tuple[int, int, Any]]:
    """Return (start, length, value) of each stretch of equal values."""
    runs, start = [], 0
    for value, group in groupby(values.tolist()):
        length = len(list(group))
        runs.append((start, length, value))
        start += length
    return runs


def label_caption(store: Any) -> str:
    """Say what the colours of labels mean."""
    private = {
        name: info.visible_in[0]
        for name, info in store.label_info.items()
        if len(info.visible_in or store.modalities) == 1
    }
    if not private:
        return "Grey labels are shared by all modalities."
    owners = ", ".join(f"{name}: {modality}" for name, modality in private.items())
    return f"Grey labels are shared; a coloured one is carried by one modality only ({owners})."


def add_label_bars(fig: go.Figure, bars: list[Bar], rows: list[str], letters: int = 7, **where: int) -> None:
    """Add labels as bars over time to a subplot; ``letters`` fit into a step, longer words stay in the hover text."""
    for color in dict.fromkeys(bar.color for bar in bars):
        mine = [bar for bar in bars if bar.color == color]
        fits = [len(bar.text) <= letters * bar.length and not bar.row.endswith(bar.text) for bar in mine]
        texts = [bar.text if fit else "" for bar, fit in zip(mine, fits, strict=True)]
        fig.add_bar(
            y=[bar.row for bar in mine],
            x=[bar.length - 0.08 for bar in mine],
            base=[bar.start - 0.46 for bar in mine],
            text=texts,
            textfont=dict(size=11, color=INK),
            customdata=[[b.text, b.start, b.start + b.length - 1] for b in mine],
            marker=dict(color=fade(color, 0.2), line=dict(color=color, width=1)),
            showlegend=False,
            hovertemplate="%{y}: %{customdata[0]}, steps %{customdata[1]} to %{customdata[2]}<extra></extra>",
            **TIME_BARS,
            **where,
        )
    fig.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=rows,
        range=[len(rows) - 0.4, -0.6],
        showgrid=False,
        tickfont_size=11,
        ticks="",
        **where,
    )
    fig.update_layout(barmode="overlay")


def step_axis(fig: go.Figure, steps: int) -> None:
    """Let x axes run over the steps of a clip, and name the lowest one."""
    fig.update_xaxes(range=[-0.55, steps - 0.45], zeroline=False, gridcolor=FAINT, ticks="")
    bottom = list(fig.select_xaxes())[-1]
    bottom.update(title_text="step", tickmode="array" if steps <= 24 else "auto", showticklabels=True)
    if steps <= 24:
        bottom.update(tickvals=list(range(steps)))
