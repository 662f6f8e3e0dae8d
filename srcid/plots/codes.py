"""Codes of one clip as a coloured strip, and how a codebook is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.plots.data import add_label_bars, clip_name, label_bars, label_caption, step_axis
from srcid.plots.style import (
    INK,
    blanks,
    code_color,
    empty_figure,
    finish,
    heat_scale,
    ink_on,
    legend_line,
    modality_colors,
    panel_titles,
)

_ROW = 30  # pixels of a row of codes
_LAYER_GAP = 0.5  # rows between two layers


def code_strip(table: Any, clip: int) -> go.Figure:
    """Draw the codes of one clip: rows modality x layer, columns steps, labels above.

    A code has the same colour in every figure. Cells whose code another modality has at the same step and
    layer are outlined. Hovering shows the code, its distance and the second nearest code.

    Args:
        table: a :class:`srcid.codes.CodeTable`.
        clip: row of the table.
    """
    if table.stages == 0:
        return empty_figure("the identity quantiser has no codes: there is nothing to draw as a strip")
    bars, label_rows = label_bars(table, clip)
    layers, modalities = range(1, table.layers + 1), table.modalities
    codes = {k: np.stack([table.code(k, m)[clip] for m in modalities]) for k in layers}
    heights = [16 + 19 * len(label_rows)] if label_rows else []
    heights.append(int(_ROW * (table.layers * len(modalities) + _LAYER_GAP * (table.layers - 1))))
    gap = 14
    fig = make_subplots(
        len(heights), 1, shared_xaxes=True, row_heights=heights, vertical_spacing=gap / (sum(heights) + gap)
    )
    if label_rows:
        add_label_bars(fig, bars, label_rows, row=1, col=1)
    here = dict(row=len(heights), col=1)
    place = {(k, m): (k - 1) * (len(modalities) + _LAYER_GAP) + i for k in layers for i, m in enumerate(modalities)}
    for k in layers:
        _layer(fig, table, clip, k, codes[k], place, here)
    colors = modality_colors(modalities)
    fig.update_yaxes(
        tickvals=list(place.values()),
        ticks="",
        showgrid=False,
        zeroline=False,
        showline=False,
        ticktext=[f"<span style='color:{colors[m]}'>{m}</span>  layer {k}" for k, m in place],
        range=[max(place.values()) + 0.5, -0.5],
        **here,
    )
    step_axis(fig, table.steps)
    fig.update_xaxes(showgrid=False, **here)
    shares = [f"{_agreement(codes[k]):.0%} in layer {k}" for k in layers]
    title = f"Clip {clip_name(table, clip)}: two modalities have the same code in {', '.join(shares)}"
    several = f" One number stands for one combination of {table.stages} symbols." if table.stages > 1 else ""
    caption = (
        "Outlined: another modality has the same code at this step. Shares are over steps and pairs of "
        f"modalities. Blank: padded or missing.{several} {label_caption(table)}"
    )
    return finish(fig, title, caption, height=sum(heights) + gap, left=130)


def usage_overview(usages: Sequence[Any], sharings: Sequence[Any]) -> go.Figure:
    """Draw how often codes are used: by rank, and per modality with the most evenly shared codes first.

    Args:
        usages: one :class:`srcid.diagnostics.usage.Usage` per layer.
        sharings: one :class:`srcid.diagnostics.usage.Sharing` per layer, in the same order.
    """
    if not usages:
        return empty_figure("no codes were counted: the identity quantiser has none")
    modalities = sharings[0].modalities
    colors = modality_colors(modalities)
    height, gap = max(130, 34 * len(modalities) + 40), 78
    total = len(usages) * height + (len(usages) - 1) * gap
    titles = [f"layer {u.layer}: {what}" for u in usages for what in ("use by rank", "used codes, most shared first")]
    fig = make_subplots(
        len(usages),
        2,
        column_widths=[0.36, 0.64],
        horizontal_spacing=0.12,
        subplot_titles=titles,
        vertical_spacing=gap / total if len(usages) > 1 else 0,
    )
    panel_titles(fig)
    for row, (use, shared) in enumerate(zip(usages, sharings, strict=True), start=1):
        for m in modalities:
            ranked = use.rank_frequency(m)
            fig.add_scatter(
                x=np.arange(1, len(ranked) + 1),
                y=ranked,
                name=m,
                legendgroup=m,
                showlegend=row == 1,
                row=row,
                col=1,
                mode="lines",
                line=dict(color=colors[m], width=2, shape="hvh"),
                hovertemplate="rank %{x}: %{y:.2%} of steps<extra>" + m + "</extra>",
            )
        # a reference for the eye: what even use of the whole codebook would look like
        fig.add_scatter(
            x=[1, use.size],
            y=[1 / use.size] * 2,
            mode="lines",
            name="even use",
            legendgroup="even",
            row=row,
            col=1,
            line=dict(color=INK, width=1, dash="dot"),
            showlegend=row == 1,
            hoverinfo="skip",
        )
        _sharing(fig, shared, colors, row)
        fig.update_yaxes(type="log", title_text="share of steps", tickformat="~%", dtick=1, row=row, col=1)
        fig.update_xaxes(title_text="rank of the code", rangemode="tozero", row=row, col=1)
        fig.update_xaxes(title_text="place in that order", showgrid=False, row=row, col=2)
        fig.update_yaxes(autorange="reversed", showgrid=False, ticks="", row=row, col=2)
    finding = [
        f"layer {u.layer}: perplexity {u.perplexity[-1]:.0f} of {u.size} codes, "
        f"{(s.users == len(modalities)).sum()} of {len(s.codes)} used codes shared by all modalities"
        for u, s in zip(usages, sharings, strict=True)
    ]
    caption = (
        "Dotted upright lines: left of the first all modalities use the code, then all but one, and so on. "
        "Shading grows with the square root of a code's share of the modality's steps; blank: never used. "
        f"{usages[0].params['clips']:,} clips."
    )
    finish(fig, "; ".join(finding).capitalize(), caption, height=total, top=100)
    return legend_line(fig)


def _sharing(fig: go.Figure, shared: Any, colors: Mapping[str, str], row: int) -> None:
    """Add the strip modality x code of one layer, codes in groups by how many modalities use them."""
    order = np.argsort(-shared.users, kind="stable")
    share, codes, users = shared.share[:, order], shared.codes[order], shared.users[order]
    for place, m in enumerate(shared.modalities):
        z = np.full(share.shape, np.nan)
        z[place] = np.where(share[place] > 0, np.sqrt(share[place]), np.nan)
        notes = np.full(share.shape, "", dtype=object)
        notes[place] = [f"code {code}: {value:.2%} of steps" for code, value in zip(codes, share[place], strict=True)]
        fig.add_heatmap(
            z=blanks(z),
            x=np.arange(1, len(codes) + 1),
            y=shared.modalities,
            colorscale=heat_scale(colors[m], signed=False),
            zmin=0,
            zmax=float(np.sqrt(share.max())),
            showscale=False,
            hoverongaps=False,
            customdata=notes,
            hovertemplate="%{customdata}<extra>" + m + "</extra>",
            row=row,
            col=2,
        )
    for end in np.flatnonzero(np.diff(users)) + 1.5:
        fig.add_vline(x=end, line=dict(color=INK, width=1, dash="dot"), row=row, col=2)


def _layer(fig: go.Figure, table: Any, clip: int, layer: int, codes: np.ndarray, place: dict, here: dict) -> None:
    """Add one layer's cells: colours, outlines of agreeing cells, numbers, and what hovering says."""
    modalities, steps = table.modalities, np.arange(table.steps)
    present = np.unique(codes[codes >= 0])
    if not present.size:
        return
    index = np.where(codes >= 0, np.searchsorted(present, codes), -1).astype(float)
    index[codes < 0] = np.nan
    edges = np.repeat(np.linspace(0, 1, len(present) + 1), 2)[1:-1]
    palette = [code_color(int(code), layer) for code in present]
    fig.add_heatmap(
        x=steps,
        y=[place[layer, m] for m in modalities],
        z=blanks(index),
        zmin=-0.5,
        zmax=len(present) - 0.5,
        xgap=3,
        ygap=3,
        colorscale=[[edge, color] for edge, color in zip(edges, np.repeat(palette, 2), strict=True)],
        showscale=False,
        hoverongaps=False,
        customdata=_hover(table, clip, layer, codes),
        hovertemplate="%{customdata}<extra></extra>",
        **here,
    )
    x, y, text, ink = [], [], [], []
    outline_x: list[float | None] = []
    outline_y: list[float | None] = []
    for i, m in enumerate(modalities):
        row = place[layer, m]
        for t in steps[codes[i] >= 0]:
            x.append(t), y.append(row), text.append(str(codes[i, t]))
            ink.append(ink_on(code_color(int(codes[i, t]), layer)))
            if (codes[:, t] == codes[i, t]).sum() > 1:
                outline_x += [t - 0.48, t + 0.48, t + 0.48, t - 0.48, t - 0.48, None]
                outline_y += [row - 0.46, row - 0.46, row + 0.46, row + 0.46, row - 0.46, None]
    fig.add_scatter(
        x=outline_x,
        y=outline_y,
        mode="lines",
        line=dict(color=INK, width=3),
        hoverinfo="skip",
        showlegend=False,
        **here,
    )
    fig.add_scatter(
        x=x,
        y=y,
        text=text,
        mode="text",
        textfont=dict(size=11, color=ink),
        hoverinfo="skip",
        showlegend=False,
        **here,
    )


def _hover(table: Any, clip: int, layer: int, codes: np.ndarray) -> list[list[str]]:
    rows = []
    for i, m in enumerate(table.modalities):
        distance, second = table.distance(layer, m)[clip], table.second(layer, m)[clip]
        symbols = np.asarray(table.codes(layer, m)[clip])
        rows.append(
            [
                f"{m}, layer {layer}, step {t}<br>code {codes[i, t]}"
                + (f" = {tuple(int(s) for s in symbols[t])}" if table.stages > 1 else "")
                + f", distance {distance[t]:.3g}"
                + (f"<br>second nearest: {second[t]}" if second[t] >= 0 else "")
                for t in range(table.steps)
            ]
        )
    return rows


def _agreement(codes: np.ndarray) -> float:
    """Return the share of equal codes over steps and pairs of rows where both have one."""
    pairs = [(a, b) for a, b in combinations(codes, 2)]
    equal = [(a == b)[(a >= 0) & (b >= 0)] for a, b in pairs]
    together = np.concatenate(equal) if equal else np.zeros(0)
    return float(together.mean()) if together.size else float("nan")
