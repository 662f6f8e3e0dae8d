"""How estimators of information look in every figure (shapes, axis of nats, legend), and how they met known truth.

Axes of nats are linear around 0 and logarithmic beyond about 2 nats (the inverse hyperbolic sine of the value),
because one bracket may reach from 0.3 to 300. Ticks and hover texts give nats.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import error_bars, legend_entry, outlined, panels, place_of
from srcid.information.calibration import TOLERANCE
from srcid.statistics import Interval
from srcid.style import INK, OKABE_ITO, empty_figure, fade, finish, legend_line

if TYPE_CHECKING:
    from srcid.information.calibration import Calibration

# one shape an estimator everywhere: bounds point to where the truth lies
SYMBOLS = {
    "infonce": "triangle-right",
    "barber-agakov": "triangle-right",
    "ksg": "circle",
    "ross": "circle",
    "plug-in": "circle",
    "leave-one-out": "triangle-left",
    "club": "square",
    "club-categorical": "square",
}
MEANING = {"lower": "lower bound", "estimate": "estimate", "upper": "upper bound"}
LARGEST = 1e4  # nats; what is higher is drawn there


def squash(nats: Any) -> np.ndarray:
    """Place of a value on an axis of nats; what is unbounded lies at its end."""
    return np.arcsinh(np.clip(np.asarray(nats, dtype=float), -LARGEST, LARGEST))


def nats_ticks(low: float, high: float) -> dict[str, list]:
    """Ticks of such an axis that lie between two values: the coarsest round ones of which there are enough."""
    for digits in ((1, 3), (1, 2, 5)):
        sizes = [digit * 10.0**power for power in range(-1, 5) for digit in digits if digit * 10.0**power >= 0.2]
        sizes = [size for size in sizes if max(abs(low), abs(high)) <= 4 or size >= 1]
        shown = [v for v in sorted({0.0, *sizes, *(-size for size in sizes)}) if low <= v <= high]
        if len(shown) >= 4:
            break
    if len(shown) < 4:  # a short range far from 0
        step = 10.0 ** np.floor(np.log10(max(high - low, 1e-6) / 2))
        shown = (np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step).tolist()
        shown = shown[:: -(-len(shown) // 5)]
    return {"tickvals": squash(shown).tolist(), "ticktext": [f"{v + 0.0:,.6g}".replace("-", "−") for v in shown]}


def add_interval(
    fig: go.Figure, found: Interval, y: float, color: str, symbol: str, hover: str, nats: bool = True,
    least: float = -np.inf, **where: int,
) -> None:  # fmt: skip
    """Add a value with its interval: a line and a marker at height ``y``, none of it left of ``least``."""
    scale = squash if nats else np.asarray
    fig.add_scatter(
        x=scale(np.maximum(found.ends, least)), y=[y, y], mode="lines", hoverinfo="skip", showlegend=False,
        line=dict(color=fade(color, 0.5) if symbol.endswith("-open") else color, width=2), **where,
    )  # fmt: skip
    fig.add_scatter(
        x=[float(scale(max(found.value, least)))], y=[y], mode="markers", showlegend=False,
        marker=outlined(color, 8, 1.4, symbol=symbol),
        hovertext="<br>".join(line for part in hover.split("\n") for line in textwrap.wrap(part, 90)),
        hovertemplate="%{hovertext}<extra></extra>", **where,
    )  # fmt: skip


def add_legend(fig: go.Figure, entries: Mapping[str, str], width: int, color: str = INK) -> go.Figure:
    """Add an entry a symbol, and put the legend under the title in rows of equal columns; call it last."""
    for name, symbol in entries.items():
        legend_entry(fig, name, marker=outlined(color, 8, 1.4, symbol=symbol))
    return legend_line(fig).update_layout(legend=dict(entrywidth=width, entrywidthmode="pixels", tracegroupgap=0))


def pair_color(pair: Any, colors: Mapping[str, str]) -> str:
    """The colour of a pair's modality; grey where it has two."""
    return colors.get(pair.modalities[0], INK) if len(pair.modalities) == 1 else INK


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
        where = place_of(number, columns)
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
                marker=outlined(color, 8, 1.4, symbol=[SYMBOLS[name] + "-open" * (not c.passed) for c in cases]),
                error_y=error_bars(value, low, high, fade(color, 0.5), 1.2),
                hovertext=[f"truth {case.truth:.2f}, estimate {case.estimate.text} nats" for case in cases],
                hovertemplate="%{hovertext}<extra>" + name + "</extra>",
            )  # fmt: skip
    fig.update_xaxes(range=[squash(-0.3), squash(top)], **nats_ticks(0, top))
    fig.update_yaxes(range=[squash(edge[0]) - 0.15, squash(edge[1]) + 0.15], **nats_ticks(*edge))
    for number in range(len(calibration.panels))[-columns:]:  # the lowest of each column
        fig.update_xaxes(title_text="truth, nats", **place_of(number, columns))
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
