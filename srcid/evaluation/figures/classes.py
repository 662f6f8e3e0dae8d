"""Behind a score: F1 of each class, which class is taken for which, and other thresholds than 0.5."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from srcid.charts import segments, side_by_side
from srcid.evaluation.details import ClassScores, Confusion, ThresholdCurve
from srcid.style import FAINT, GENERAL, INK, blanks, empty_figure, fade, finish, legend_line

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


def confusion_figure(confusion: Confusion) -> go.Figure:
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


def threshold_figure(curve: ThresholdCurve) -> go.Figure:
    """Draw precision, recall and F1 over the threshold, and whether probabilities mean what they say."""
    titles = ["scores by threshold", "reliability"]
    fig = side_by_side(titles, column_widths=[0.6, 0.4], horizontal_spacing=0.11)
    frame = curve.frame()
    for name, dash in (("precision", "dash"), ("recall", "dot"), ("f1", "solid")):
        color = GENERAL if name == "f1" else INK
        known = frame[np.isfinite(frame[name])]  # no prediction above a high threshold: no precision
        x, low, high = known["threshold"], known[f"{name}_low"], known[f"{name}_high"]
        fig.add_scatter(x=[*x, *x[::-1]], y=[*low, *high[::-1]], fill="toself", fillcolor=fade(color, 0.15),
                        line_width=0, mode="lines", hoverinfo="skip", showlegend=False, row=1, col=1)  # fmt: skip
        fig.add_scatter(x=frame["threshold"], y=blanks(frame[name].to_numpy(float)), mode="lines",
                        name=name.replace("f1", "F1"), line=dict(color=color, width=2, dash=dash),
                        hovertemplate=name + " %{y:.1f} % at %{x:.2f}<extra></extra>", row=1, col=1)  # fmt: skip
    fig.add_vline(x=0.5, line=dict(color=INK, width=1), row=1, col=1)
    fig.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="perfectly calibrated",
                    line=dict(color=INK, width=1, dash="dot"), hoverinfo="skip", row=1, col=2)  # fmt: skip
    # area grows with the number of predictions, so that what rests on few looks so
    sizes = 4 + 14 * np.sqrt(curve.cells / max(curve.cells.max(), 1))
    fig.add_scatter(x=blanks(curve.probability), y=blanks(curve.observed), mode="lines+markers", name="probes",
                    marker=dict(size=sizes, color=fade(GENERAL, 0.6)), line=dict(color=GENERAL, width=1.5),
                    customdata=curve.cells, row=1, col=2,
                    hovertemplate="predicted %{x:.2f}, true %{y:.2f}, %{customdata:,} predictions<extra></extra>"
                    )  # fmt: skip
    fig.update_xaxes(title_text="threshold on the probability", range=[0, 1], row=1, col=1)
    fig.update_yaxes(title_text="score, %", range=[0, 102], row=1, col=1)
    fig.update_xaxes(title_text="predicted probability", range=[-0.02, 1.02], gridcolor=FAINT, row=1, col=2)
    fig.update_yaxes(title_text="share that is true", range=[-0.02, 1.02], row=1, col=2)
    caption = (
        f"Vertical line: the threshold 0.5 that all tables use. Bands: 95 % interval over {curve.clips:,} scored test "
        f"clips. {curve.directions} directions together, background counted as a class; representation "
        f"{curve.representation}, first probe seed. For looking only: a threshold chosen here would be chosen on test "
        "clips."
    )
    finish(fig, curve.finding, caption, height=300, top=104)
    return legend_line(fig)
