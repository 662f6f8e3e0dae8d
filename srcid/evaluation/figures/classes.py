"""Behind a score: F1 of each class, which class is taken for which, and other thresholds than 0.5."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.style import FAINT, GENERAL, INK, blanks, empty_figure, fade, finish, legend_line, panel_titles

_LOOKS = {"across": dict(symbol="circle", color=GENERAL), "within": dict(symbol="diamond-open", color=INK)}
_MEANING = {"across": "on modalities it has never seen", "within": "on its own modality"}


def class_scores_figure(scores: Any) -> go.Figure:
    """Draw the F1 of each class with its interval over clips, hardest classes last.

    Args:
        scores: a :class:`srcid.evaluation.details.ClassScores`.
    """
    known = np.nan_to_num(np.where(np.isfinite(scores.across[0]), scores.across[0], scores.within[0]), nan=-1)
    order = np.argsort(-known, kind="stable")
    unit = "clips" if scores.task in ("classification", "unpaired") else "steps"
    labels = [f"{scores.classes[c]} ({scores.support[c]:,})" for c in order]
    fig = go.Figure()
    for shift, (where, look) in zip((-0.14, 0.14), _LOOKS.items(), strict=True):
        value, low, high = getattr(scores, where)[:, order]
        if not np.isfinite(value).any():
            continue
        y = np.arange(len(order)) + shift
        fig.add_scatter(
            x=[x for a, b in zip(blanks(low), blanks(high), strict=True) for x in (a, b, None)],
            y=np.repeat(y, 3),
            mode="lines",
            line=dict(color=look["color"], width=1.5),
            hoverinfo="skip",
            showlegend=False,
        )
        fig.add_scatter(
            x=blanks(value),
            y=y,
            mode="markers",
            name=_MEANING[where],
            marker=dict(size=9, line=dict(width=1.8, color=look["color"]), **look),
            hovertemplate="%{x:.1f} %<extra>" + where + "</extra>",
        )
    fig.update_yaxes(tickvals=list(range(len(order))), ticktext=labels, range=[len(order) - 0.4, -0.6], zeroline=False)
    fig.update_xaxes(range=[0, 102], title_text="F1, %", zeroline=False)
    title = f"{scores.task.capitalize()}, class by class"
    if (known >= 0).any():
        best, worst = order[0], order[known[order] >= 0][-1]
        title += (
            f": from {known[best]:.0f} % ({scores.classes[best]}) to {known[worst]:.0f} % ({scores.classes[worst]})"
        )
    caption = (
        f"In brackets: {unit} of the class in the {scores.clips:,} scored test clips. Lines: 95 % interval over clips "
        f"(bootstrap). Directions are summed; representation {scores.representation}, first probe seed."
    )
    finish(fig, title, caption, height=max(120, 26 * len(order)), top=92, left=150)
    return legend_line(fig)


def confusion_figure(confusion: Any) -> go.Figure:
    """Draw which class is taken for which, as shares of the true class.

    Args:
        confusion: a :class:`srcid.evaluation.details.Confusion`.
    """
    total = confusion.counts.sum(1, keepdims=True)
    if not total.any():
        return empty_figure(f"no {confusion.unit} were scored: there is no confusion to draw")
    share = np.where(total > 0, confusion.counts / np.maximum(total, 1), np.nan)
    few = len(confusion.classes) <= 14
    fig = go.Figure(
        go.Heatmap(
            z=blanks(np.round(share, 4)),
            x=list(confusion.classes),
            y=list(confusion.classes),
            zmin=0,
            zmax=1,
            colorscale=[[0, fade(GENERAL, 0)], [1, GENERAL]],
            text=[[f"{100 * v:.0f}" if v >= 0.005 else "" for v in row] for row in np.nan_to_num(share)]
            if few
            else None,
            texttemplate="%{text}" if few else None,
            textfont=dict(size=10),
            customdata=confusion.counts,
            hovertemplate="%{y} taken for %{x}: %{z:.1%}, %{customdata:,} " + confusion.unit + "<extra></extra>",
            colorbar=dict(title=dict(text="share of the true class", side="right"), tickformat=".0%", thickness=12),
        )
    )
    fig.update_xaxes(title_text="taken for", type="category", showgrid=False, tickangle=-40)
    fig.update_yaxes(title_text="true class", type="category", autorange="reversed", showgrid=False)
    right = np.trace(confusion.counts) / confusion.counts.sum()
    worst = confusion.top(1)
    title = f"{confusion.task.capitalize()} {confusion.where} modalities: {right:.0%} of {confusion.unit} right"
    if worst:
        title += f"; most often, {worst[0][0]} is taken for {worst[0][1]} ({worst[0][2]:.0%})"
    caption = (
        f"Rows sum to one. {confusion.counts.sum():,} {confusion.unit} over {confusion.directions} directions, test "
        f"clips; representation {confusion.representation}, first probe seed. A single cell has no interval: read "
        "patterns, not percents."
    )
    size = len(confusion.classes)
    return finish(fig, title, caption, height=max(240, 26 * size), bottom=110, left=150)


def threshold_figure(curve: Any) -> go.Figure:
    """Draw precision, recall and F1 over the threshold, and whether probabilities mean what they say.

    Args:
        curve: a :class:`srcid.evaluation.details.ThresholdCurve`.
    """
    fig = make_subplots(
        1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.11, subplot_titles=["scores by threshold", "reliability"]
    )
    panel_titles(fig)
    for name, dash in (("precision", "dash"), ("recall", "dot"), ("f1", "solid")):
        value, low, high = getattr(curve, name)
        color = GENERAL if name == "f1" else INK
        known = np.isfinite(value)  # no prediction above a high threshold: no precision
        fig.add_scatter(
            x=[*curve.threshold[known], *curve.threshold[known][::-1]],
            y=[*low[known], *high[known][::-1]],
            fill="toself",
            fillcolor=fade(color, 0.15),
            line_width=0,
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            row=1,
            col=1,
        )
        fig.add_scatter(
            x=curve.threshold,
            y=blanks(value),
            mode="lines",
            name=name.upper() if name == "f1" else name,
            line=dict(color=color, width=2, dash=dash),
            hovertemplate=name + " %{y:.1f} % at %{x:.2f}<extra></extra>",
            row=1,
            col=1,
        )
    fig.add_vline(x=0.5, line=dict(color=INK, width=1), row=1, col=1)
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="as it says", line=dict(color=INK, width=1, dash="dot"),
        hoverinfo="skip", row=1, col=2,
    )  # fmt: skip
    fig.add_scatter(
        x=blanks(curve.probability),
        y=blanks(curve.observed),
        mode="lines+markers",
        name="probes",
        # area grows with the number of predictions, so that what rests on few looks so
        marker=dict(size=4 + 14 * np.sqrt(curve.cells / max(curve.cells.max(), 1)), color=fade(GENERAL, 0.6)),
        line=dict(color=GENERAL, width=1.5),
        customdata=curve.cells,
        hovertemplate="said %{x:.2f}, true %{y:.2f}, %{customdata:,} predictions<extra></extra>",
        row=1,
        col=2,
    )
    fig.update_xaxes(title_text="threshold on the probability", range=[0, 1], row=1, col=1)
    fig.update_yaxes(title_text="score, %", range=[0, 102], row=1, col=1)
    fig.update_xaxes(title_text="predicted probability", range=[-0.02, 1.02], gridcolor=FAINT, row=1, col=2)
    fig.update_yaxes(title_text="share that is true", range=[-0.02, 1.02], row=1, col=2)
    at = int(np.argmin(np.abs(curve.threshold - 0.5)))
    high = int(np.nanargmax(curve.f1[0]))
    title = (
        f"Localisation {curve.where} modalities: F1 {curve.f1[0, at]:.1f} % at threshold 0.5, at best "
        f"{curve.f1[0, high]:.1f} % at {curve.best:.2f}; calibration error {100 * curve.error:.1f} points"
    )
    caption = (
        f"Upright line: the threshold 0.5 that all tables use. Bands: 95 % interval over {curve.clips:,} scored test "
        f"clips. {curve.directions} directions together, background counted as a class; representation "
        f"{curve.representation}, first probe seed. For looking only: a threshold chosen here would be chosen on test "
        "clips."
    )
    finish(fig, title, caption, height=300, top=104)
    return legend_line(fig)
