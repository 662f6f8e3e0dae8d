"""Localisation over time: what is true in a clip, what probes of other modalities say, and the codes they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import TIME_BARS, arrow, stack
from srcid.features.figures import step_axis, stretches
from srcid.style import FAINT, INK, code_color, empty_figure, fade, finish, ink_on, legend_line, modality_colors, swatch

_ROW = 21  # pixels of a row
_GAP = 44  # pixels between clips, with a title in it
_CELL = 0.46  # half the width of a step's cell
_LOOKS = {
    "true": dict(color=INK, line=dict(color=INK, width=1)),
    "right": dict(color=fade(INK, 0.25), line=dict(color=INK, width=1)),
    "wrong": dict(
        color="rgba(0,0,0,0)",
        line=dict(color=INK, width=1),
        pattern=dict(shape="x", size=5, fgcolor=fade(INK, 0.45), solidity=0.2),
    ),
}
_NAMES = {"true": "true", "right": "predicted, right", "wrong": "predicted, wrong"}


def timeline_figure(timelines: Sequence[Any]) -> go.Figure:
    """Draw timelines of clips below each other: truth, predictions across modalities, codes by layer and modality.

    Args:
        timelines: of :func:`srcid.evaluation.details.timelines`.
    """
    if not timelines:
        return empty_figure("no clip was chosen: there is no timeline to draw")
    first = timelines[0]
    rows = [_rows(line) for line in timelines]
    heights = [_ROW * len(names) for names in rows]
    fig, total = stack(heights, [line.finding for line in timelines], _GAP, shared_xaxes=True)
    colors = modality_colors(first.modalities)
    shown: set[str] = set()
    for place, (line, names) in enumerate(zip(timelines, rows, strict=True), start=1):
        here = dict(row=place, col=1)
        _truth(fig, line, here, shown)
        for pair in (key for key in names if isinstance(key, tuple) and isinstance(key[0], str)):
            _predicted(fig, line, pair, names.index(pair), here, shown)
        for key in (key for key in names if isinstance(key, tuple) and isinstance(key[0], int)):
            _codes(fig, line, key, names.index(key), here)
        fig.update_yaxes(
            tickvals=list(range(len(names))),
            ticktext=[_label(key, colors) for key in names],
            range=[len(names) - 0.4, -0.6],
            ticks="",
            showgrid=False,
            zeroline=False,
            showline=False,
            **here,
        )
    step_axis(fig, len(first.truth))
    fig.update_xaxes(showgrid=False)
    fig.update_layout(barmode="overlay")
    found = ", ".join(f"{line.found:.0f} %" for line in timelines if line.truth.any())
    title = f"Single clips: probes of other modalities find {found or 'none'} of the steps of true events"
    caption = (
        "Shaded over all rows: an event is true; what is empty within it was missed. Rows a → b: a probe that learned "
        f"from the codes of a, reading b (representation {first.representation}, first probe seed, probability above "
        "0.5); wrong: an event is predicted that is not true. Equal colour is equal code within a layer."
    )
    finish(fig, title, caption, height=total, top=100, left=150)
    return legend_line(fig)


def _rows(line: Any) -> list:
    """Keys of a panel's rows: truth, directions (train, test), codes (layer, modality)."""
    pairs = [pair for pair in line.said if pair[0] != pair[1]] or list(line.said)
    pairs.sort(key=lambda pair: (line.modalities.index(pair[1]), line.modalities.index(pair[0])))
    return ["truth", *pairs, *line.codes]


def _label(key: Any, colors: dict[str, str]) -> str:
    if key == "truth":
        return "<b>truth</b>"
    if isinstance(key[0], int):
        return f"{swatch(key[1], colors[key[1]])} layer {key[0]}"
    return arrow(key, colors)


def _stretches(steps: np.ndarray, classes: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return (start, length, classes) of each stretch of equal events ``[T, C]`` that is not empty."""
    keys = np.array([", ".join(c for c, on in zip(classes, row, strict=True) if on) for row in steps], object)
    return [found for found in stretches(keys) if found[2]]


def _truth(fig: go.Figure, line: Any, here: dict, shown: set[str]) -> None:
    found = _stretches(line.truth, line.classes)
    _bars(fig, found, 0, "true", here, shown)
    for start, length, _ in found:
        fig.add_vrect(x0=start - 0.5, x1=start + length - 0.5, fillcolor=FAINT, opacity=0.5, line_width=0,
                      layer="below", **here)  # fmt: skip


def _predicted(fig: go.Figure, line: Any, pair: tuple[str, str], row: int, here: dict, shown: set[str]) -> None:
    said = line.said[pair]
    wrong = (said & ~line.truth).any(-1)
    for look, steps in (("right", ~wrong), ("wrong", wrong)):
        _bars(fig, _stretches(said & steps[:, None], line.classes), row, look, here, shown)


def _bars(fig: go.Figure, found: list, row: int, look: str, here: dict, shown: set[str]) -> None:
    if not found:
        return
    fig.add_bar(
        y=[row] * len(found),
        x=[length - 1 + 2 * _CELL for _, length, _ in found],
        base=[start - _CELL for start, _, _ in found],
        width=0.78,
        # a letter takes about 7 pixels and a step about 75: longer words stay in the hover text
        text=[text if len(text) <= 10 * length else "" for _, length, text in found],
        textfont=dict(size=11, color="#ffffff" if look == "true" else INK),
        customdata=[[text, start, start + length - 1] for start, length, text in found],
        hovertemplate="%{customdata[0]}, steps %{customdata[1]} to %{customdata[2]}<extra>" + _NAMES[look] + "</extra>",
        marker=_LOOKS[look],
        name=_NAMES[look],
        legendgroup=look,
        showlegend=look not in shown,
        **TIME_BARS,
        **here,
    )
    shown.add(look)


def _codes(fig: go.Figure, line: Any, key: tuple[int, str], row: int, here: dict) -> None:
    layer, modality = key
    codes = [(step, int(code)) for step, code in enumerate(line.codes[key]) if code >= 0]
    colors = [code_color(code, layer) for _, code in codes]
    fig.add_bar(
        y=[row] * len(codes),
        x=[2 * _CELL] * len(codes),
        base=[step - _CELL for step, _ in codes],
        width=0.78,
        text=[str(code) for _, code in codes],
        textfont=dict(size=10, color=[ink_on(color) for color in colors]),
        marker=dict(color=colors, line_width=0),
        hovertemplate=f"{modality}, layer {layer}: code %{{text}}<extra></extra>",
        showlegend=False,
        **TIME_BARS,
        **here,
    )
