"""Estimators of information against known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from srcid.charts import error_bars, panels
from srcid.information.calibration import TOLERANCE
from srcid.information.figures.estimators import MEANING, SYMBOLS, add_legend, nats_ticks, squash
from srcid.style import INK, OKABE_ITO, empty_figure, fade, finish

if TYPE_CHECKING:
    from srcid.information.calibration import Calibration


def calibration_figure(calibration: Calibration | None, caption: str = "") -> go.Figure:
    """Draw estimates against the truth, a panel a kind of pair, with the line where they are equal.

    Filled markers passed: bounds on their side of the truth and estimates near it, within the tolerance.
    """
    if calibration is None:
        return empty_figure("No calibration to show: there is no pair of known information")
    columns = min(4, len(calibration.panels))
    fig, height = panels(calibration.panels, columns, 170, 60, shared_yaxes=True, horizontal_spacing=0.04)
    top = 1.3 * max(1.0, *(case.truth for case in calibration.cases))
    # a bound that failed may lie anywhere; what is far outside sits at the edge
    edge = (-1.0, 12 * top)
    kinds = {case.estimate.name: case.estimate.kind for case in calibration.cases}
    colors = dict(zip(dict.fromkeys(SYMBOLS.values()), OKABE_ITO, strict=False))
    for number, panel in enumerate(calibration.panels):
        where = dict(row=number // columns + 1, col=number % columns + 1)
        line = squash(np.linspace(0, top, 60))
        fig.add_scatter(x=line, y=line, mode="lines", line=dict(color=INK, width=1.2, dash="dot"), hoverinfo="skip",
                        showlegend=False, **where)  # fmt: skip
        for name in dict.fromkeys(case.estimate.name for case in calibration.of(panel)):
            cases = [case for case in calibration.of(panel) if case.estimate.name == name]
            low, value, high = (squash(np.clip([getattr(c.estimate.interval, end) for c in cases], *edge))
                                for end in ("low", "value", "high"))  # fmt: skip
            color = colors[SYMBOLS[name]]
            fig.add_scatter(
                x=squash([case.truth for case in cases]), y=value, mode="markers", name=name, showlegend=False, **where,
                marker=dict(symbol=[SYMBOLS[name] + "-open" * (not c.passed) for c in cases], size=8, color=color,
                            line=dict(width=1.4, color=color)),
                error_y=error_bars(value, low, high, fade(color, 0.5), 1.2),
                hovertext=[f"truth {case.truth:.2f}, estimate {case.estimate.text} nats" for case in cases],
                hovertemplate="%{hovertext}<extra>" + name + "</extra>",
            )  # fmt: skip
    fig.update_xaxes(range=[squash(-0.3), squash(top)], **nats_ticks(0, top))
    fig.update_yaxes(range=[squash(edge[0]) - 0.15, squash(edge[1]) + 0.15], **nats_ticks(*edge))
    for number in range(len(calibration.panels))[-columns:]:  # the lowest of each column
        fig.update_xaxes(title_text="truth, nats", row=number // columns + 1, col=number % columns + 1)
    fig.update_yaxes(title_text="estimate, nats", col=1)
    note = (
        f"Up to {calibration.clips:,} clips. Dotted: estimate = truth. Filled: a bound on its side of the truth, an "
        f"estimate near it, within {TOLERANCE[0]:g} nats or {TOLERANCE[1]:.0%} of the truth; open: not. Far outside: "
        f"drawn at the edge. {caption}"
    )
    finish(fig, calibration.finding, note, height=height, top=88 + 20 * ((len(kinds) - 1) // 4))
    for name, kind in sorted(kinds.items(), key=lambda item: list(SYMBOLS).index(item[0])):
        add_legend(fig, {f"{name} ({MEANING[kind]})": SYMBOLS[name]}, 168, colors[SYMBOLS[name]])
    return fig
