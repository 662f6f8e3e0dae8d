"""Codes of one clip as coloured strips, of one run or of several one above the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import stack
from srcid.codebook.matching import check_same_clips
from srcid.features.figures import add_label_bars, clip_name, label_bars, label_caption, step_axis
from srcid.style import INK, blanks, code_color, empty_figure, finish, ink_on, modality_colors, swatch
from srcid.symbols import InspectionError

_ROW = 30  # pixels of a row of codes
_LAYER_GAP = 0.5  # rows between two layers
_PLOT = 806  # pixels between the margins
_DIGIT = 7  # pixels of a digit


def code_strip(table: Any, clip: int) -> go.Figure:
    """Draw the codes of one clip: rows modality x layer, columns steps, labels above.

    A code has the same colour in every figure. Cells whose code another modality has at the same step and
    layer are outlined. Hovering shows the code, its distance and the second nearest code.

    Args:
        table: a :class:`srcid.codes.CodeTable`.
        clip: row of the table.

    Raises:
        InspectionError: the table has no such row.
    """
    return code_strips({"": table}, clip)


def code_strips(tables: Mapping[str, Any], clip: int, matchings: Sequence[Any] = ()) -> go.Figure:
    """Draw the codes of one clip in several runs one above the other, as :func:`code_strip` does for one.

    Args:
        tables: CodeTables by the name of their run, all of the same store. Runs may differ in their layers.
        clip: row of the tables.
        matchings: :class:`srcid.codebook.matching.Matching` of layers of the first run and another: a matched code
            of the other has its partner's colour, a code without partner is grey.

    Raises:
        InspectionError: tables of different stores, no such row, or no table at all.
    """
    check_same_clips(tables)
    table = next(iter(tables.values()))
    if not 0 <= clip < table.clips:
        raise InspectionError(f"found clip {clip}, need a row from 0 to {table.clips - 1}")
    if all(t.stages == 0 for t in tables.values()):
        return empty_figure("the identity quantiser has no codes: there is nothing to draw as a strip")
    bars, label_rows = label_bars(table, clip)
    modalities, several, gap = table.modalities, len(tables) > 1, 48 if len(tables) > 1 else 14
    places = {name: _places(t.layers if t.stages else 0, modalities) for name, t in tables.items()}
    heights = [16 + 19 * len(label_rows)] if label_rows else []
    heights += [int(_ROW * (max(place.values(), default=0) + 1)) for place in places.values()]
    codes = {
        name: {k: np.stack([t.code(k, m)[clip] for m in modalities]) for k in range(1, t.layers + 1)}
        for name, t in tables.items()
        if t.stages
    }
    titles = [*([""] if label_rows else []), *(_heading(name, codes.get(name)) for name in tables)] if several else None
    fig, total = stack(heights, titles, gap, shared_xaxes=True)
    cell = _PLOT / table.steps
    if label_rows:
        add_label_bars(fig, bars, label_rows, letters=max(1, int(cell / 8)), row=1, col=1)
    colors = modality_colors(modalities)
    partners = {(m.names[1], m.layer): m.partners for m in matchings}
    for row, (name, place) in enumerate(places.items(), start=len(heights) - len(tables) + 1):
        here = dict(row=row, col=1)
        for k, found in codes.get(name, {}).items():
            partner = partners.get((name, k))
            paint = {int(c): code_color(int(c) if partner is None else partner.get(int(c), -1), k)
                     for c in np.unique(found[found >= 0])}  # fmt: skip
            _layer(fig, tables[name], name, clip, k, found, place, here, cell, paint)
        fig.update_xaxes(showgrid=False, **here)
        names = [f"{swatch(m, colors[m])}  layer {k}" for k, m in place]
        fig.update_yaxes(
            tickvals=list(place.values()), ticktext=names, ticks="", showgrid=False, zeroline=False, showline=False,
            range=[max(place.values(), default=0) + 0.5, -0.5], **here,
        )  # fmt: skip
    step_axis(fig, table.steps)
    bottom = list(fig.select_xaxes())[-1]
    ticks = dict(title_text="step", tickmode=bottom.tickmode, tickvals=bottom.tickvals, showticklabels=True)
    fig.update_xaxes(ticks, row=len(heights))
    first = next(iter(codes.values()))
    shares = [f"{_agreement(found):.0%} of steps in layer {k}" for k, found in first.items()]
    title = f"Clip {clip_name(table, clip)}"
    alone = f": two modalities have the same code at {', '.join(shares)}"
    title += f" in {len(tables)} codebooks" if several else alone
    caption = (
        "Outlined: another modality has the same code at this step. Shares are over steps and pairs of "
        "modalities. Blank: padded or missing. "
        + (_about_colors(matchings) if several else "")
        + _of_several_symbols(tables)
        + label_caption(table)
    )
    return finish(fig, title, caption, height=total, left=130, top=60)


def _places(layers: int, modalities: tuple[str, ...]) -> dict[tuple[int, str], float]:
    """Row of each layer and modality."""
    return {
        (k, m): (k - 1) * (len(modalities) + _LAYER_GAP) + i
        for k in range(1, layers + 1)
        for i, m in enumerate(modalities)
    }


def _about_colors(matchings: Sequence[Any]) -> str:
    if not matchings:
        return "Numbers and colours above say nothing of those below. "
    first, second = matchings[0].names
    return (
        f"Colours compare, numbers do not: a code of {second} has the colour of the code of {first} that it is matched "
        "with, and is grey where it has none. "
    )


def _heading(name: str, codes: Mapping[int, np.ndarray] | None) -> str:
    if codes is None:
        return f"{name}: no codes (identity quantiser)"
    return f"{name}: same code at " + ", ".join(
        f"{_agreement(found):.0%} of steps (layer {k})" for k, found in codes.items()
    )


def _of_several_symbols(tables: Mapping[str, Any]) -> str:
    wide = sorted({t.stages for t in tables.values() if t.stages > 1})
    return f"One number stands for one combination of {' or '.join(map(str, wide))} symbols. " if wide else ""


def _layer(fig: go.Figure, table: Any, name: str, clip: int, layer: int, codes: np.ndarray, place: dict, here: dict,
           cell: float, paint: Mapping[int, str]) -> None:  # fmt: skip
    """Add one layer's cells: colours, outlines of agreeing cells, numbers, and what hovering says."""
    modalities, steps = table.modalities, np.arange(table.steps)
    present = np.unique(codes[codes >= 0])
    if not present.size:
        return
    index = np.where(codes >= 0, np.searchsorted(present, codes).astype(float), np.nan)
    edges = np.repeat(np.linspace(0, 1, len(present) + 1), 2)[1:-1]
    palette = np.repeat([paint[int(code)] for code in present], 2)
    fig.add_heatmap(
        x=steps, y=[place[layer, m] for m in modalities], z=blanks(index), zmin=-0.5, zmax=len(present) - 0.5, xgap=3,
        ygap=3, colorscale=[[edge, color] for edge, color in zip(edges, palette, strict=True)], showscale=False,
        hoverongaps=False, meta=[name, layer], customdata=_hover(table, clip, layer, codes),
        hovertemplate="%{customdata}<extra></extra>", **here,
    )  # fmt: skip
    row, step = np.nonzero(codes >= 0)
    y = np.array([place[layer, m] for m in modalities])[row]
    agreeing = (codes[:, step] == codes[row, step]).sum(axis=0) > 1
    corners = np.array([[-0.48, -0.46], [0.48, -0.46], [0.48, 0.46], [-0.48, 0.46], [-0.48, -0.46], [np.nan, np.nan]])
    outline = np.stack([step, y], axis=1)[agreeing][:, None] + corners
    fig.add_scatter(
        x=blanks(outline[..., 0].ravel()), y=blanks(outline[..., 1].ravel()), mode="lines", hoverinfo="skip",
        line=dict(color=INK, width=3), showlegend=False, **here,
    )  # fmt: skip
    text = [str(code) for code in codes[row, step]]
    if max(map(len, text)) * _DIGIT <= cell:  # what does not fit stays in the hover text
        ink = [ink_on(paint[int(code)]) for code in codes[row, step]]
        fig.add_scatter(x=step, y=y, text=text, mode="text", textfont=dict(size=11, color=ink), hoverinfo="skip",
                        showlegend=False, **here)  # fmt: skip


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
    equal = [(a == b)[(a >= 0) & (b >= 0)] for a, b in combinations(codes, 2)]
    together = np.concatenate(equal) if equal else np.zeros(0)
    return float(together.mean()) if together.size else float("nan")
