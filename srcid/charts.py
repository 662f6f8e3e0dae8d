"""What figures share: panels with titles, intervals as bars, named rows, maps of codes, titles from findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.statistics import Interval
from srcid.style import INK, blanks, empty_figure, fade, heat_scale, swatch

GAP = 78  # pixels between rows of panels
# bars along a time axis, with their text upright inside and cut nowhere
TIME_BARS = dict(orientation="h", textposition="inside", insidetextanchor="middle", textangle=0, constraintext="none")
DOTTED = dict(color=INK, width=1, dash="dot")  # a line to hold others against: chance, equality, the border of groups


def findings(results: Sequence[Any]) -> str:
    """Return the findings of ``results``, each once."""
    return "; ".join(dict.fromkeys(result.finding for result in results))


def title(results: Sequence[Any]) -> str:
    """Return the findings of ``results`` as a title."""
    said = findings(results)
    return said[:1].upper() + said[1:]


def sentences(notes: Sequence[str]) -> str:
    """Return notes as sentences for a caption, each once."""
    return " ".join(f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(notes) if note)


def nothing(notes: Sequence[str], otherwise: str = "There are no codes to show.") -> go.Figure:
    """Return the figure that says why there is none."""
    return empty_figure(sentences(notes) or otherwise)


def whiskers(intervals: Sequence[Interval], color: str, width: float = 2) -> dict:
    """Return plotly's error bars of ``intervals``; none where they are not known."""
    return error_bars(*np.array([(i.value, i.low, i.high) for i in intervals], float).reshape(-1, 3).T, color, width)


def error_bars(value: Any, low: Any, high: Any, color: str, width: float = 1.6) -> dict:
    """Return plotly's error bars from ``low`` to ``high`` around ``value``, all ``[n]``; none where they are NaN."""
    value, low, high = (np.asarray(side, float) for side in (value, low, high))
    up, down = (np.nan_to_num(np.maximum(side, 0)) for side in (high - value, value - low))
    return dict(type="data", symmetric=False, array=up, arrayminus=down, color=color, thickness=width, width=0,
                visible=bool(np.isfinite(low).any()))  # fmt: skip


def segments(low: Any, high: Any) -> list[float | None]:
    """Return the x of lines from ``low`` to ``high``, one after the other with gaps; their y come three times each."""
    return [x for a, b in zip(low, high, strict=True) for x in (a, b, None)]


def dots(fig: go.Figure, intervals: Sequence[Interval], y: Sequence[float], color: str, hover: Sequence[str],
         col: int = 1, **options: Any) -> None:  # fmt: skip
    """Add estimates with their intervals, one a row of the figure; ``options`` are plotly's, and go before these."""
    look = dict(mode="markers", error_x=whiskers(intervals, color), showlegend=False) | options
    look["marker"] = dict(size=8, color=color) | options.get("marker", {})
    fig.add_scatter(x=[i.value for i in intervals], y=y, customdata=hover, row=1, col=col,
                    hovertemplate="%{customdata}<extra></extra>", **look)  # fmt: skip


def outlined(color: str, size: float = 9, width: float = 1.8, **more: Any) -> dict:
    """Return the look of marks with an outline in their colour: filled and open ones are then of one size."""
    return dict(size=size, color=color, line=dict(width=width, color=color)) | more


def arrow(ends: Sequence[str], colors: Mapping[str, str]) -> str:
    """Return "a → b" for modalities, each behind a square of its colour."""
    return " → ".join(swatch(m, colors.get(m, INK)) for m in ends)


def legend_entry(fig: go.Figure, name: str, mode: str = "markers", **look: Any) -> None:
    """Add a mark or line to the legend that no data stand behind; ``look`` is its ``marker``, ``line`` and so on."""
    fig.add_scatter(x=[None], y=[None], mode=mode, name=name, hoverinfo="skip", xaxis="x", yaxis="y", **look)


def name_rows(fig: go.Figure, ticks: Mapping[float, str], last: float) -> None:
    """Name rows, counted from the top down to ``last``."""
    fig.update_yaxes(tickvals=list(ticks), ticktext=list(ticks.values()), range=[last + 0.7, -0.7], showgrid=False,
                     zeroline=False)  # fmt: skip


def name_upwards(fig: go.Figure, names: Sequence[str]) -> None:
    """Name rows from the top down, the last one at height 0."""
    fig.update_yaxes(tickvals=list(range(len(names)))[::-1], ticktext=names, range=[-0.6, len(names) - 0.4],
                     zeroline=False)  # fmt: skip


def room_for(names: Sequence[str]) -> int:
    """Return the left margin, in pixels, in which names of rows fit."""
    return 60 + 7 * max(map(len, names))


def panels(titles: Sequence[str], columns: int, height: int, gap: int = GAP, **options: Any) -> tuple[go.Figure, int]:
    """Return a figure of titled panels, filled row by row, and the height of all."""
    rows = -(-len(titles) // columns)
    return _titled(rows, columns, titles, rows * height + (rows - 1) * gap, gap,
                   **{"horizontal_spacing": 0.1, **options})  # fmt: skip


def place_of(number: int, columns: int) -> dict[str, int]:
    """Row and column of a panel of :func:`panels`, counted from 0."""
    return dict(row=number // columns + 1, col=number % columns + 1)


def stack(heights: Sequence[int], titles: Sequence[str] | None, gap: int, **options: Any) -> tuple[go.Figure, int]:
    """Return a figure of panels below each other, of ``heights`` in pixels, and the height of all."""
    total = sum(heights) + gap * (len(heights) - 1)
    return _titled(len(heights), 1, titles, total, gap, row_heights=heights, **options)


def side_by_side(titles: Sequence[str], **options: Any) -> go.Figure:
    """Return a figure of titled panels in one row."""
    return _titled(1, len(titles), titles, 1, 0, **options)[0]


def _titled(rows: int, columns: int, titles: Sequence[str] | None, total: int, gap: int,
            **options: Any) -> tuple[go.Figure, int]:  # fmt: skip
    between = gap / total if rows > 1 else 0
    fig = make_subplots(rows, columns, subplot_titles=titles, vertical_spacing=between, **options)
    for axis, note in zip(fig.select_xaxes(), fig.layout.annotations, strict=False):  # small, flush left with the axes
        note.update(x=axis.domain[0], xanchor="left", font=dict(size=12.5, color=INK))
    return fig, total


def add_map(fig: go.Figure, shades: Sequence[tuple[np.ndarray, str]], names: Sequence[str], hover: np.ndarray, row: int,
            col: int, most: float = 1.0) -> None:  # fmt: skip
    """Add a heat map rows x codes in which every cell, blank or not, answers to hovering and clicks.

    Args:
        shades: (values ``[rows, codes]``, NaN for blank; colour) of layers of the map.
        names: of the rows.
        hover: text of each cell, ``[rows, codes]``.
        most: value of the full colour.
    """
    x, y = np.arange(1, hover.shape[1] + 1), np.arange(1, len(names) + 1)
    look = dict(x=x, y=y, showscale=False, row=row, col=col)
    for values, color in shades:
        fig.add_heatmap(z=blanks(values), zmin=0, zmax=most, colorscale=heat_scale(color, signed=False),
                        hoverinfo="skip", **look)  # fmt: skip
    clear = fade("#787878", 0.0)
    fig.add_heatmap(z=np.zeros(hover.shape), zmin=0, zmax=1, colorscale=[[0, clear], [1, clear]], customdata=hover,
                    hovertemplate="%{customdata}<extra></extra>", **look)  # fmt: skip
    fig.update_yaxes(tickvals=y, ticktext=list(names), autorange="reversed", showgrid=False, zeroline=False, ticks="",
                     row=row, col=col)  # fmt: skip
