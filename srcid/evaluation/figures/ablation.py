"""Ablation in the manner of the paper's Fig. 3: scores over the codebook size, and with CLUB taken from layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.evaluation.comparison import ACROSS
from srcid.style import OKABE_ITO, empty_figure, fade, finish, legend_line, panel_titles

_CLUB = {(): "in every layer", (1,): "not in layer 1", (2,): "not in layer 2", (1, 2): "in no layer"}


def ablation_figure(scores: Any, source: str = "") -> go.Figure:
    """Draw scores over the codebook size, and with CLUB taken from single layers, in the manner of the paper's Fig. 3.

    Args:
        scores: frame of :func:`srcid.evaluation.comparison.ablation`.
        source: which runs, for the caption.
    """
    sizes, club = _size_curves(scores), _club_groups(scores)
    if not len(sizes) and not len(club):
        return empty_figure("No ablation: these runs have one codebook size each, and CLUB on in every layer.")
    titles = ["codebook size, scored m → n", "codebook size, scored m → m", "CLUB taken away"]
    fig = make_subplots(
        1, 3, column_widths=[0.32, 0.32, 0.36], shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles
    )
    panel_titles(fig)
    families = list(dict.fromkeys(family for (family, _), _ in [*sizes, *club]))
    colors = {family: OKABE_ITO[place % len(OKABE_ITO)] for place, family in enumerate(families)}
    for (family, direction), part in sizes:
        color, column = colors[family], 1 if direction == ACROSS else 2
        if np.isfinite(part["low"]).any():
            fig.add_scatter(
                x=[*part["codebook_size"], *part["codebook_size"][::-1]],
                y=[*part["low"], *part["high"][::-1]],
                fill="toself",
                fillcolor=fade(color, 0.18),
                line_width=0,
                mode="lines",
                hoverinfo="skip",
                legendgroup=family,
                showlegend=False,
                row=1,
                col=column,
            )
        fig.add_scatter(
            x=part["codebook_size"],
            y=part["score"],
            mode="lines+markers",
            line=dict(color=color, width=2),
            marker=_dot(color, direction),
            legendgroup=family,
            showlegend=False,
            hovertemplate=family + ", L = %{x}: %{y:.1f} %<extra></extra>",
            row=1,
            col=column,
        )
    states = [state for state in _CLUB if any(state in set(part["club_off"]) for _, part in club)]
    for place, ((family, direction), part) in enumerate(club):
        color, shift = colors[family], 0.16 * (place - (len(club) - 1) / 2)
        part = part[part["club_off"].isin(states)]
        fig.add_scatter(
            x=[states.index(state) + shift for state in part["club_off"]],
            y=part["score"],
            error_y=dict(
                array=_finite((part["high"] - part["score"]).to_numpy(float)),
                arrayminus=_finite((part["score"] - part["low"]).to_numpy(float)),
                color=color,
                thickness=1.6,
                width=0,
            ),
            mode="markers",
            marker=_dot(color, direction),
            legendgroup=family,
            showlegend=False,
            hovertemplate=f"{family}, {direction}: %{{y:.1f}} %<extra></extra>",
            row=1,
            col=3,
        )
    for family, color in colors.items():
        fig.add_scatter(
            x=[None], y=[None], mode="lines+markers", line=dict(color=color, width=2), marker=_dot(color, ACROSS),
            name=family, legendgroup=family, row=1, col=1,
        )  # fmt: skip
    ticks = sorted({size for _, part in sizes for size in part["codebook_size"]})
    for column in (1, 2):
        fig.update_xaxes(type="log", tickvals=ticks, ticktext=[str(t) for t in ticks], row=1, col=column)
        fig.update_xaxes(title_text="codes L of a codebook", row=1, col=column)
    labels = [f"CLUB<br>{_CLUB[state]}" for state in states]
    fig.update_xaxes(tickvals=list(range(len(states))), ticktext=labels, range=[-0.5, max(len(states), 1) - 0.5], col=3)
    fig.update_yaxes(zeroline=False)
    fig.update_yaxes(title_text="score, %", row=1, col=1)
    _say_missing(fig, sizes, club)
    seeds = sorted({int(n) for n in scores["seeds"]})
    caption = (
        f"Average over tasks and directions, mean over {' or '.join(map(str, seeds))} training seeds; bands and bars: "
        "95 % t-intervals. Filled: scored on another modality (m → n); open: on the one learned from (m → m). "
    )
    finish(fig, _ablation_title(sizes, club), caption + source, height=320, top=112)
    return legend_line(fig)


def _size_curves(scores: Any) -> list[tuple[tuple[str, str], Any]]:
    """Curves over at least two codebook sizes, CLUB in every layer."""
    whole = scores[scores["club_off"].map(len) == 0]
    groups = whole.groupby(["family", "direction"], sort=False)
    return [(key, part.sort_values("codebook_size")) for key, part in groups if part["codebook_size"].nunique() > 1]


def _club_groups(scores: Any) -> list[tuple[tuple[str, str], Any]]:
    """Points at the codebook size at which most variants of CLUB were run, if there are two or more."""
    found = []
    for key, part in scores.groupby(["family", "direction"], sort=False):
        variants = part.groupby("codebook_size")["club_off"].nunique()
        if variants.max() > 1:
            found.append((key, part[part["codebook_size"] == variants.idxmax()]))
    return found


def _ablation_title(sizes: Sequence, club: Sequence) -> str:
    best = [
        f"L = {row['codebook_size']} for {family}"
        for (family, direction), part in sizes
        if direction == ACROSS and np.isfinite(part["score"]).any()
        for row in [part.loc[part["score"].idxmax()]]
    ]
    lost = []
    for (family, direction), part in club:
        whole = part.loc[part["club_off"].map(len) == 0, "score"]
        if direction == ACROSS and len(whole):
            worst = part.loc[part["score"].idxmin()]
            if len(worst["club_off"]):
                lost.append(
                    f"{worst['score'] - whole.iloc[0]:+.1f} points with CLUB {_CLUB[worst['club_off']]} ({family})"
                )
    parts = [f"Best m → n at {', '.join(best)}"] if best else []
    parts += [f"{'worst' if parts else 'Worst'} change {'; '.join(lost)}"] if lost else []
    return "; ".join(parts) or "Codebook size, and CLUB taken away"


def _say_missing(fig: go.Figure, sizes: Sequence, club: Sequence) -> None:
    lacks = {"x": (sizes, "several codebook sizes"), "x3": (club, "CLUB switched off")}
    for axis, (found, what) in lacks.items():
        if not found:
            y = axis.replace("x", "y")
            fig.add_annotation(
                text=f"no runs with {what}", x=0.5, y=0.5, xref=f"{axis} domain", yref=f"{y} domain", showarrow=False
            )


def _dot(color: str, direction: str) -> dict:
    return dict(size=9, color=color, symbol="circle" if direction == ACROSS else "circle-open",
                line=dict(width=1.8, color=color))  # fmt: skip


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0.0)
