"""One code, closely: its exemplars, the classes it goes with, where it occurs, its neighbours and companions."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.codebook.figures.tiles import envelope, picture_uri
from srcid.features.clip_media import CardMedia, card_media
from srcid.style import DASHES, INK, SYMBOLS, code_color, empty_figure, fade, finish, modality_colors, panel_titles

_ROW = 17  # pixels of a bar
_PICTURE = 70  # pixels of a row's pictures, sounds and words
_LINES = 46  # and of what is written below them
_CLASSES = 15  # shown, but three of each label at least
_WAVE = 40  # bars of a drawn sound
_LETTERS = 15  # that fit below an exemplar


def code_card(card: Any, table: Any, media: CardMedia | None = None) -> go.Figure:
    """Draw all that is known of one code: the static twin of the code explorer.

    Args:
        card: a :class:`srcid.codebook.cards.CodeCard`.
        table: the CodeTable it was looked up in.
        media: what :func:`srcid.features.clip_media.card_media` read; None reads it now.
    """
    return _draw(card, table, card_media(card, table) if media is None else media)


def code_profile(card: Any, table: Any) -> go.Figure:
    """Draw the same without title and exemplars, for views that show these beside it."""
    return _draw(card, table, None)


def _draw(card: Any, table: Any, media: CardMedia | None) -> go.Figure:
    each = max(3, _CLASSES // max(len(card.labels), 1))
    classes = [(label, found) for label, many in card.labels.items() for found in many[:each]]
    companions = [(layer, found) for layer, many in card.together.items() for found in many]
    if not card.used and not card.neighbours:
        return empty_figure(f"{card}. {' '.join(card.notes)}")
    tiles = _tile_heights(card, media) if media and card.used else {}
    lower = _ROW * max(len(card.neighbours), min(len(companions), 12), 4)
    upper = max(110, _ROW * len(classes) - lower - 60)
    heights = [sum(tiles.values())] * bool(tiles) + [upper, lower]
    gap = 62
    split = [{"rowspan": 2}, {"colspan": 2}, None], [None, {}, {}] if companions else [None, {"colspan": 2}, None]
    titles = ["nearest exemplars"] * bool(tiles) + ["classes with the code", "where in a clip", "nearest codes"]
    fig = make_subplots(
        len(heights),
        3,
        specs=[[{"colspan": 3}, None, None]] * bool(tiles) + list(split),
        row_heights=heights,
        column_widths=[0.36, 0.32, 0.32],
        vertical_spacing=gap / (sum(heights) + gap * (len(heights) - 1)),
        horizontal_spacing=0.1,
        subplot_titles=titles + ["codes at the same places"] * bool(companions),
    )
    panel_titles(fig)
    first = len(heights) - 1
    if tiles:
        _exemplars(fig, card, table, media, tiles)
    _classes(fig, card, table, classes, (upper + gap + lower) // _ROW, dict(row=first, col=1))
    _steps(fig, card, table, dict(row=first, col=2))
    _neighbours(fig, card, lower // _ROW, dict(row=first + 1, col=2))
    if companions:
        _companions(fig, companions[:12], lower // _ROW, dict(row=first + 1, col=3))
    notes = list(dict.fromkeys([*card.notes, *(media.problems if media else ())]))
    caption = (
        "Bars: share of the clip-steps with the code, with 95 % Wilson intervals that count clips; ticks: share in all "
        "clip-steps. Distances are Euclidean; dotted: median distance of features that have the code to it. "
        f"{'Below each exemplar: label, clip, step, distance. ' if tiles else ''}{card.of_clips:,} clips. "
        + " ".join(f"{note[0].upper()}{note[1:]}." for note in notes[:4])
    )
    height = sum(heights) + gap * (len(heights) - 1)
    return finish(fig, str(card) if media else "", caption, height=height, top=64 if media else 28, left=150)


def _exemplars(fig: go.Figure, card: Any, table: Any, media: CardMedia, heights: dict[str, int]) -> None:
    """Add rows of exemplars to the first subplot: x counts exemplars, y pixels from the top."""
    colors, top = modality_colors(table.modalities), 0
    columns = max(len(found) for found in card.exemplars.values())
    ticks = {}
    for m, height in heights.items():
        bottom = top + height
        ticks[m] = top + _PICTURE / 2 if height > _LINES else top + 20
        below = [_caption(e) for e in card.exemplars[m]]
        places = np.arange(len(below))
        _text(
            fig, places, [bottom - _LINES / 2 - 3] * len(below), below, INK, 10, [_hover(e) for e in card.exemplars[m]]
        )
        if not below:
            _text(fig, [(columns - 1) / 2], [ticks[m]], [f"{m} never has this code"], INK, 11)
        waves_x, waves_y = [], []
        for place, shown in enumerate(media.shown[m]):
            middle = top + _PICTURE / 2
            if shown.kind == "image":
                fig.add_layout_image(
                    source=picture_uri(shown.content), xref="x", yref="y", x=place, y=middle, xanchor="center",
                    yanchor="middle", sizex=0.9, sizey=_PICTURE - 6, sizing="contain", layer="above",
                )  # fmt: skip
            elif shown.kind == "audio":
                for i, peak in enumerate(envelope(shown.content, _WAVE)):
                    waves_x += [place - 0.42 + 0.84 * (i + 0.5) / _WAVE] * 2 + [None]
                    waves_y += [middle - 28 * peak, middle + 28 * peak, None]
            elif shown.kind == "word":
                lines = [_cut(shown.before, -1), f"<b>{_cut(shown.content)}</b>", _cut(shown.after)]
                _text(fig, [place], [middle], ["<br>".join(lines)], colors[m], 11)
        if waves_x:
            fig.add_scatter(
                x=waves_x, y=waves_y, mode="lines", line=dict(color=colors[m], width=1.2), hoverinfo="skip",
                showlegend=False, row=1, col=1,
            )  # fmt: skip
        top = bottom
    fig.update_xaxes(visible=False, range=[-0.5, max(columns, 4) - 0.5], row=1, col=1)
    fig.update_yaxes(
        range=[top, 0], tickvals=list(ticks.values()), ticks="", showgrid=False, zeroline=False, showline=False,
        ticktext=[f"<span style='color:{colors[m]}'>{m}</span><br>{card.counts[m]:,} steps" for m in ticks],
        row=1, col=1,
    )  # fmt: skip


def _tile_heights(card: Any, media: CardMedia) -> dict[str, int]:
    return {m: _LINES + _PICTURE * any(s.kind != "none" for s in media.shown[m]) for m in card.exemplars}


def _text(fig: go.Figure, x: Any, y: Any, text: list[str], color: str, size: int, hover: Any = None) -> None:
    fig.add_scatter(
        x=x, y=y, text=text, mode="text", textfont=dict(color=color, size=size), showlegend=False,
        customdata=hover, hovertemplate="%{customdata}<extra></extra>" if hover else None,
        hoverinfo=None if hover else "skip", row=1, col=1,
    )  # fmt: skip


def _caption(exemplar: Any) -> str:
    label = f"{_cut(exemplar.label)}<br>" if exemplar.label else ""
    return f"{label}{_cut(str(exemplar.clip_id))}<br>step {exemplar.step}, {exemplar.distance:.3g}"


def _hover(exemplar: Any) -> str:
    return (
        f"{exemplar.modality}, clip {exemplar.clip_id} (row {exemplar.clip}), step {exemplar.step}"
        f"<br>{' · '.join(part for part in (exemplar.label, exemplar.media) if part)}"
        f"<br>distance {exemplar.distance:.3g}"
    )


def _cut(text: str, end: int = 1) -> str:
    """Return as many words of a text as fit, from its beginning or (``end`` = -1) from its end; of one, its letters."""
    words = text.split()
    while len(words) > 1 and len(" ".join(words)) > _LETTERS:
        words = words[:-1] if end > 0 else words[1:]
    short = " ".join(words)
    return short if len(short) <= _LETTERS else short[: _LETTERS - 1] + "…"


def _classes(fig: go.Figure, card: Any, table: Any, classes: list, slots: int, here: dict) -> None:
    colors = modality_colors(table.modalities)
    if not classes:
        return _nothing(fig, "no labels here" if card.used else "never used", here)
    names = [f"{label}: {found.name}" for label, found in classes]
    seen_in = [table.label_info[label.partition("[")[0]].visible_in or table.modalities for label, _ in classes]
    own = [colors[m[0]] if len(m) == 1 else INK for m in seen_in]
    _bars(fig, names, [found for _, found in classes], own, slots, here)


def _companions(fig: go.Figure, companions: list, slots: int, here: dict) -> None:
    names = [f"layer {layer}: {found.code}" for layer, found in companions]
    colors = [code_color(found.code, layer) for layer, found in companions]
    goes_to = [[layer, found.code] for layer, found in companions]
    _bars(fig, names, [found for _, found in companions], colors, slots, here, goes_to)


def _bars(
    fig: go.Figure, names: list, found: list, colors: list, slots: int, here: dict, goes_to: list | None = None
) -> None:
    """Add shares as bars, with intervals where there are any, and ticks at the usual shares."""
    share = np.array([f.share for f in found])
    usual = np.array([f.share / f.lift for f in found])
    error = None
    if hasattr(found[0], "low"):
        error = dict(
            array=[f.high - f.share for f in found], arrayminus=[f.share - f.low for f in found], symmetric=False,
            thickness=1.2, width=3, color=INK,
        )  # fmt: skip
    fig.add_bar(
        y=names, x=share, orientation="h", error_x=error, showlegend=False, customdata=goes_to,
        marker=dict(color=[fade(c, 0.45) for c in colors], line=dict(color=colors, width=1)),
        hovertemplate=[_share_text(n, f) + "<extra></extra>" for n, f in zip(names, found, strict=True)], **here,
    )  # fmt: skip
    fig.add_scatter(
        y=names, x=usual, mode="markers", showlegend=False, hoverinfo="skip",
        marker=dict(symbol="line-ns", size=11, line=dict(color=INK, width=2.5)), **here,
    )  # fmt: skip
    most = max(1.05 * max(share.max(), usual.max(), max(getattr(f, "high", 0) for f in found)), 0.05)
    fig.update_xaxes(tickformat=".0%", range=[0, min(most, 1.02)], title_text="share", nticks=5, **here)
    _rows(fig, len(names), slots, here)


def _share_text(name: str, found: Any) -> str:
    interval = f" ({found.low:.1%} to {found.high:.1%})" if hasattr(found, "low") else ""
    return f"{name}<br>{found.share:.1%}{interval} of steps, {found.count:,}<br>{found.lift:.2f} times its usual share"


def _steps(fig: go.Figure, card: Any, table: Any, here: dict) -> None:
    if not card.used:
        return _nothing(fig, "never used", here)
    colors = modality_colors(table.modalities)
    for place, (m, counts) in enumerate(card.steps.items()):
        if not counts.any():
            continue
        fig.add_scatter(
            x=np.arange(len(counts)), y=counts, name=m, mode="lines+markers", showlegend=False,
            line=dict(color=colors[m], width=2, dash=DASHES[place % len(DASHES)]),
            marker=dict(symbol=SYMBOLS[place % len(SYMBOLS)], size=7),
            hovertemplate="step %{x}: %{y:,} clips<extra>" + m + "</extra>", **here,
        )  # fmt: skip
    fig.update_xaxes(title_text="step", dtick=-(-table.steps // 12), showgrid=False, **here)
    fig.update_yaxes(title_text="clips", rangemode="tozero", nticks=5, **here)


def _neighbours(fig: go.Figure, card: Any, slots: int, here: dict) -> None:
    if not card.neighbours:
        return _nothing(fig, "no codebook, no neighbours", here)
    names = [str(n.code) for n in card.neighbours]
    fig.add_bar(
        y=names, x=[n.distance for n in card.neighbours], orientation="h", showlegend=False,
        customdata=[[card.layer, n.code] for n in card.neighbours],
        marker=dict(
            color=[fade(code_color(n.code, card.layer), 0.75 if n.count else 0.1) for n in card.neighbours],
            line=dict(color=[code_color(n.code, card.layer) for n in card.neighbours], width=1),
        ),
        hovertemplate=[
            f"code {n.code}<br>distance {n.distance:.3g}<br>{f'{n.count:,} steps' if n.count else 'never used'}"
            "<extra></extra>"
            for n in card.neighbours
        ], **here,
    )  # fmt: skip
    spread = [middle for _, middle, _ in card.spread.values() if np.isfinite(middle)]
    if spread:
        fig.add_vline(x=float(np.median(spread)), line=dict(color=INK, width=1.5, dash="dot"), **here)
    fig.update_xaxes(title_text="distance", rangemode="tozero", nticks=5, **here)
    fig.update_yaxes(title_text="code", **here)
    _rows(fig, len(names), slots, here)


def _rows(fig: go.Figure, count: int, slots: int, here: dict) -> None:
    """Name rows from the top, each as high as if the panel's ``slots`` rows were all there."""
    most = max(count, slots)
    fig.update_yaxes(type="category", range=[most - 0.5, -0.5], ticks="", showgrid=False, tickmode="linear", **here)


def _nothing(fig: go.Figure, why: str, here: dict) -> None:
    fig.add_scatter(
        x=[0],
        y=[0],
        text=[why],
        mode="text",
        textfont=dict(color=INK, size=12),
        hoverinfo="skip",
        showlegend=False,
        **here,
    )
    fig.update_xaxes(visible=False, **here)
    fig.update_yaxes(visible=False, **here)
