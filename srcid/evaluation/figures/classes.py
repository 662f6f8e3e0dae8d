"""Behind a score: F1 of each class, and which class is taken for which."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from srcid.charts import segments
from srcid.evaluation.details import ClassConfusion, ClassScores
from srcid.style import GENERAL, INK, blanks, empty_figure, fade, finish, legend_line

_LOOKS = {"across": dict(symbol="circle", color=GENERAL), "within": dict(symbol="diamond-open", color=INK)}
_MEANING = {"across": "on modalities it has never seen", "within": "on its own modality"}


def class_scores_figure(scores: ClassScores) -> go.Figure:
    """Draw the F1 of each class with its interval over clips, hardest classes last."""
    frame = scores.frame()
    place = np.arange(len(frame))
    fig = go.Figure()
    for shift, (where, look) in zip((-0.14, 0.14), _LOOKS.items(), strict=True):
        value, low, high = frame[[where, f"{where}_low", f"{where}_high"]].to_numpy(float).T
        if not np.isfinite(value).any():
            continue
        fig.add_scatter(x=segments(blanks(low), blanks(high)), y=np.repeat(place + shift, 3), mode="lines",
                        line=dict(color=look["color"], width=1.5), hoverinfo="skip", showlegend=False)  # fmt: skip
        fig.add_scatter(x=blanks(value), y=place + shift, mode="markers", name=_MEANING[where],
                        marker=dict(size=9, line=dict(width=1.8, color=look["color"]), **look),
                        hovertemplate="%{x:.1f} %<extra>" + where + "</extra>")  # fmt: skip
    labels = [f"{name} ({support:,})" for name, support in frame["support"].items()]
    fig.update_yaxes(tickvals=list(place), ticktext=labels, range=[len(frame) - 0.4, -0.6], zeroline=False)
    fig.update_xaxes(range=[0, 102], title_text="F1, %", zeroline=False)
    caption = (
        f"In brackets: {scores.unit} of the class in the {scores.clips:,} scored test clips. Lines: 95 % interval over "
        f"clips (bootstrap). Directions are summed; representation {scores.representation}, first probe seed."
    )
    finish(fig, scores.finding, caption, height=max(120, 26 * len(frame)), top=92, left=150)
    return legend_line(fig)


def confusion_figure(confusion: ClassConfusion) -> go.Figure:
    """Draw which class is taken for which, as shares of the true class."""
    if not confusion.counts.any():
        return empty_figure(confusion.finding)
    share, names = confusion.shares, list(confusion.classes)
    text = [[f"{100 * v:.0f}" if v >= 0.005 else "" for v in row] for row in np.nan_to_num(share)]
    few = dict(text=text, texttemplate="%{text}", textfont=dict(size=10)) if len(names) <= 14 else {}
    fig = go.Figure(
        go.Heatmap(
            z=blanks(np.round(share, 4)), x=names, y=names, zmin=0, zmax=1, customdata=confusion.counts,
            colorscale=[[0, fade(GENERAL, 0)], [1, GENERAL]], **few,
            hovertemplate="%{y} taken for %{x}: %{z:.1%}, %{customdata:,} " + confusion.unit + "<extra></extra>",
            colorbar=dict(title=dict(text="share of the true class", side="right"), tickformat=".0%", thickness=12),
        )
    )  # fmt: skip
    fig.update_xaxes(title_text="taken for", type="category", showgrid=False, tickangle=-40)
    fig.update_yaxes(title_text="true class", type="category", autorange="reversed", showgrid=False)
    caption = (
        f"Rows sum to one. {confusion.counts.sum():,} {confusion.unit} over {confusion.directions} directions; "
        f"representation {confusion.representation}, first probe seed. A single cell has no interval: read "
        "patterns, not percents."
    )
    return finish(fig, confusion.finding, caption, height=max(240, 26 * len(names)), bottom=110, left=150)
