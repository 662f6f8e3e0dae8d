"""Known factors in figures: what probes read from both halves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from srcid.charts import name_rows, side_by_side
from srcid.information.figures.estimators import add_interval, add_legend
from srcid.style import GENERAL, INK, SPECIFIC, empty_figure, finish, modality_colors, swatch

if TYPE_CHECKING:
    from srcid.information.leakage import Leaks

_ROW = 26  # pixels
_SIDES = {"general": (GENERAL, "circle", 0.16), "specific": (SPECIFIC, "square", -0.16)}


def leak_figure(leaks: Leaks, modalities: Sequence[str], caption: str = "") -> go.Figure:
    """Draw what probes read of each factor from both halves, with the level of chance: a panel a layer.

    Filled: the factor does not belong there, so that everything right of chance is a leak.
    """
    probes, notes = leaks.probes, " ".join(f"{note}." for note in leaks.notes)
    if not probes:
        return empty_figure("No leakage to show: " + (notes or "the data have no factor to look for"))
    colors, layers = modality_colors(modalities), sorted({leak.layer for leak in probes})
    rows = list(dict.fromkeys((leak.probe.factor, leak.modality) for leak in sorted(probes, key=lambda v: v.private)))
    place = np.arange(len(rows)) + 0.5 * np.cumsum([0, *(a[0] != b[0] for a, b in pairwise(rows))])
    at = dict(zip(rows, place, strict=True))
    fig = side_by_side([f"layer {k}" for k in layers], shared_yaxes=True, horizontal_spacing=0.05)
    for leak in probes:
        color, symbol, shift = _SIDES[leak.side]
        y, probe = at[leak.probe.factor, leak.modality] - shift, leak.probe
        where = dict(row=1, col=layers.index(leak.layer) + 1)
        fig.add_scatter(x=[probe.chance] * 2, y=[y - 0.17, y + 0.17], mode="lines", line=dict(color=INK, width=2),
                        hoverinfo="skip", showlegend=False, **where)  # fmt: skip
        verdict = "belongs here" if leak.belongs else "a leak" if probe.leaks else "no leak seen"
        hover = f"{leak.side} features of {leak.modality}, layer {leak.layer}\n{probe}\n{verdict}"
        add_interval(fig, probe.score, y, color, symbol + "-open" * leak.belongs, hover, nats=False, **where)
    name_rows(fig, {y: f"{factor}, {swatch(m, colors.get(m, INK))}" for (factor, m), y in at.items()}, place[-1])
    lowest = min(-0.02, *(v.probe.score.value for v in probes))
    fig.update_xaxes(title_text="score of the probe", range=[lowest, 1.02])
    metrics = ", ".join(dict.fromkeys(v.probe.metric for v in probes))
    note = (
        f"Linear probes on clips they have not seen: {metrics}; 95 % intervals over clips and "
        f"{probes[0].probe.settings.seeds} splits; {leaks.sample}. Grey: chance. Filled: the factor does not belong "
        f"there. A leak: the interval lies above chance and above permuted clips. {notes} {caption}"
    )
    finish(fig, leaks.finding, note, height=int(_ROW * (place[-1] + 1.4)) + 20, top=100, left=150)
    for side, (color, symbol, _) in _SIDES.items():
        add_legend(fig, {f"{side}, belongs there": f"{symbol}-open", f"{side}, does not": symbol}, 150, color)
    return fig
