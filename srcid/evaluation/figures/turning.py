"""What follows when a code is turned into another one: answers that move, beside those of random codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import name_rows, sentences, side_by_side, whiskers
from srcid.style import GENERAL, INK, empty_figure, finish, legend_line, modality_colors, swatch

_ROW = 24  # pixels of a direction
_PANELS = (
    ("moved", "other answers than before, %"),
    ("change", "right answers, change in points"),
)
_LOOKS = (("", "this code", GENERAL, "circle", -0.16), ("control_", "random codes of equal use", INK, "diamond", 0.16))


def turning_figure(turned: Any, modalities: Sequence[str] = ()) -> go.Figure:
    """Draw a :class:`srcid.evaluation.turning.Turned`: a row a task and direction, this code's and random codes'.

    Args:
        modalities: all of the table, in its order, which fixes their colours.
    """
    if not turned.effects:
        return empty_figure(f"{turned.finding}: {'; '.join(turned.notes)}.")
    colors = modality_colors(modalities or tuple(turned.counts))
    rows, ticks, y, before = [], {}, 0.0, ""
    for effect in turned.effects:
        y += 0.8 if before not in ("", effect.task) else 0.0
        ticks[y] = f"{effect.task if effect.task != before else ''}  {_direction(effect, colors)}"
        rows, y, before = [*rows, y], y + 1, effect.task
    fig = side_by_side([name for _, name in _PANELS], shared_yaxes=True, horizontal_spacing=0.04)
    for column, (field, _) in enumerate(_PANELS, start=1):
        for prefix, name, color, symbol, shift in _LOOKS:
            found = [(row, e, getattr(e, prefix + field)) for row, e in zip(rows, turned.effects, strict=True)]
            found = [(row, e, i) for row, e, i in found if np.isfinite(i.value)]
            if not found:
                continue
            fig.add_scatter(
                x=[i.value for *_, i in found], y=[row + shift for row, *_ in found], mode="markers", name=name,
                legendgroup=name, showlegend=column == 1, row=1, col=column,
                marker=dict(symbol=symbol, size=8, color=color),
                error_x=whiskers([i for *_, i in found], color, 1.6),
                customdata=[f"{e.task}, {e.train} → {e.test}, {name}: {i.text('.1f')}; {i.n} clips<br>"
                            f"right before {e.before:.0f} %, after {e.after:.0f} %" for _, e, i in found],
                hovertemplate="%{customdata}<extra></extra>",
            )  # fmt: skip
    name_rows(fig, ticks, max(rows))
    fig.update_xaxes(range=[-2, 102], zeroline=False, row=1, col=1)
    fig.update_xaxes(zeroline=True, zerolinecolor=INK, zerolinewidth=1, row=1, col=2)
    beside = (
        f"Random codes: {', '.join(map(str, turned.controls))}, turned into the same one, in clips that have them. "
    )
    caption = (
        "From the modality that a probe learned on → to the one that was turned and asked; retrieval: from the one "
        "that was turned and asks → to the one that answers. Bars: 95 % intervals over clips. Localisation counts the "
        "turned steps, retrieval the 10 nearest clips and whether the partner is among them; reconstruction: the share "
        "of the features' power that the code misses. " + (beside if turned.controls else "") + sentences(turned.notes)
    )
    finish(fig, turned.finding, caption, height=int(_ROW * (max(rows) + 1.2)), top=104, left=240)
    return legend_line(fig)


def _direction(effect: Any, colors: dict[str, str]) -> str:
    ends = (effect.test, effect.train) if effect.task == "retrieval" else (effect.train, effect.test)
    shown = [swatch(m, colors.get(m, INK)) for m in ends]
    return shown[1] if effect.task == "reconstruction" else " → ".join(shown)
