"""Estimators of information against known truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.information.figures.estimators import (
    MAIN,
    MEANING,
    SYMBOLS,
    estimator_legend,
    half,
    nats_ticks,
    squash,
    steps_of_each,
)
from srcid.style import INK, OKABE_ITO, empty_figure, finish, panel_titles

if TYPE_CHECKING:
    from srcid.information.calibration import Calibration


def calibration_figure(calibration: Calibration, estimators: Sequence[str] = (), caption: str = "") -> go.Figure:
    """Draw estimates against the truth, a panel a shape and dimension, with the line where they are equal.

    Filled markers passed: bounds on their side of the truth and estimates near it, within the tolerance.
    """
    shown = [n for n in SYMBOLS if n in set(calibration.estimator.tolist()) & set(estimators or MAIN)]
    if not shown:
        return empty_figure("No calibration to show: none of these estimators was run")
    panels = list(dict.fromkeys(zip(calibration.shape.tolist(), calibration.dim.tolist(), strict=True)))
    columns = min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    height = rows * 190 + (rows - 1) * 60
    fig = make_subplots(
        rows, columns, horizontal_spacing=0.05, vertical_spacing=60 / height if rows > 1 else 0,
        subplot_titles=[f"{shape}, {dim} {'classes' if shape in ('channel', 'clusters') else 'dimensions'}"
                        for shape, dim in panels],
    )  # fmt: skip
    panel_titles(fig)
    passed = calibration.passed()
    top = float(1.3 * max(1.0, calibration.truth.max()))
    least, most = float(min(-0.3, calibration.low.min())), float(max(top, calibration.high.max()))
    # a bound that failed may lie anywhere; what is far outside sits at the edge
    edge = (max(least, -3.0), min(most, 12 * top))
    line = np.linspace(0, top, 60)
    colors = dict(zip(shown, (OKABE_ITO[i % len(OKABE_ITO)] for i in range(len(shown))), strict=True))
    for number, (shape, dim) in enumerate(panels):
        where = dict(row=number // columns + 1, col=number % columns + 1)
        fig.add_scatter(
            x=squash(line), y=squash(line), mode="lines", line=dict(color=INK, width=1.2, dash="dot"), hoverinfo="skip",
            name="estimate = truth", legendgroup="truth", showlegend=number == 0, **where,
        )  # fmt: skip
        for name in shown:
            mine = (calibration.estimator == name) & (calibration.shape == shape) & (calibration.dim == dim)
            if not mine.any():
                continue
            value = np.clip(calibration.estimate[mine], *edge)
            look = dict(color=colors[name], size=8, line=dict(width=1.4, color=colors[name]))
            fig.add_scatter(
                x=squash(calibration.truth[mine]), y=squash(value), mode="markers", name=name, legendgroup=name,
                showlegend=False, **where,
                marker=dict(symbol=[SYMBOLS[name] + ("" if ok else "-open") for ok in passed[mine]], **look),
                error_y=dict(
                    type="data", symmetric=False, thickness=1.2, width=0, color=half(colors[name]),
                    array=squash(np.clip(calibration.high[mine], *edge)) - squash(value),
                    arrayminus=squash(value) - squash(np.clip(calibration.low[mine], *edge)),
                ),
                customdata=np.stack([calibration.truth[mine], calibration.estimate[mine], calibration.low[mine],
                                     calibration.high[mine]], axis=1),
                hovertemplate="truth %{customdata[0]:.2f}, estimate %{customdata[1]:.2f} [%{customdata[2]:.2f}, "
                              "%{customdata[3]:.2f}] nats<extra>" + name + "</extra>",
            )  # fmt: skip
    kinds = dict(zip(calibration.estimator.tolist(), calibration.kind.tolist(), strict=True))
    for name in shown:
        fig.add_scatter(
            x=[None], y=[None], mode="markers", name=f"{name} ({MEANING[kinds[name]]})", hoverinfo="skip",
            legendgroup=f"{name} alone",
            marker=dict(symbol=SYMBOLS[name], size=8, color=colors[name]), row=1, col=1,
        )  # fmt: skip
    fig.update_xaxes(range=[squash(-0.3), squash(top)], **nats_ticks(0, top))
    fig.update_yaxes(range=[squash(edge[0]) - 0.15, squash(edge[1]) + 0.15], **nats_ticks(*edge))
    for column in range(1, columns + 1):
        lowest = rows if (rows - 1) * columns + column <= len(panels) else rows - 1
        fig.update_xaxes(title_text="truth, nats", row=lowest, col=column)
    for row in range(1, rows + 1):
        fig.update_yaxes(title_text="estimate, nats", row=row, col=1)
    sound = [name for name in shown if passed[calibration.estimator == name].all()]
    title = f"{int(passed.sum())} of {len(passed)} estimates are what they claim to be; always: "
    title += ", ".join(sound) or "none"
    tolerance = f"{calibration.tolerance[0]:g} nats or {calibration.tolerance[1]:.0%} of the truth"
    note = (
        f"{calibration.clips:,} clips, {steps_of_each(calibration.steps)}; filled: a bound on its side of the truth, "
        f"an estimate near it, within {tolerance}; open: not. Far outside: drawn at the edge. "
        + "Gaussian: a linear q is right; cubic: no Gaussian q is. "
        * ("gaussian" in calibration.shape)
    )
    finish(fig, title, note + caption, height=height, top=88 + 20 * (len(shown) // 4))
    return estimator_legend(fig, 168)
