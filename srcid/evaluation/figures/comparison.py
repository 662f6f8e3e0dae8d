"""Methods against each other: what they score on other modalities and on their own, what they cost, what is certain.

A quantiser keeps its colour, finer residual ones are darker; the shape is the method's (circle: one layer, diamond:
two). Every point is a mean over training seeds, every bar its t-interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.evaluation.comparison import ACROSS, AVERAGE, WITHIN
from srcid.style import FAINT, GENERAL, INK, OKABE_ITO, empty_figure, finish, legend_line, panel_titles

_COLORS = {
    "vq": OKABE_ITO[0], "rvq2": "#EBB552", "rvq3": "#E0862B", "rvq4": "#C24E00", "fsq": OKABE_ITO[2], "identity": INK,
}  # fmt: skip
_SHAPES = {"dcid": "circle", "srcid": "diamond", "cmcm": "square"}
_SPARE = ("triangle-up", "star", "hexagon", "cross", "pentagon", "triangle-down")
_NOTHING = "No method has scores of both kinds, m → n and m → m: there is nothing to compare."
_INTERVALS = "Bars: 95 % t-intervals over training seeds; none where there is one seed."


def method_looks(methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return colour and symbol of each method: colour by quantiser, shape by kind, another shape for variants."""
    quantizers = {method: method.partition(" ")[2].replace(",", " ").split(" ")[0] for method in methods}
    others = [name for name in dict.fromkeys(quantizers.values()) if name not in _COLORS]
    looks: dict[str, dict[str, str]] = {}
    for method, quantizer in quantizers.items():
        color = _COLORS.get(quantizer) or OKABE_ITO[(3, 5, 1, 4)[others.index(quantizer) % 4]]
        plain = "x" if quantizer == "identity" else _SHAPES.get(method.partition(" ")[0], "triangle-up")
        wanted = f"{plain}-open" if method.endswith("(only1)") else plain
        taken = {look["symbol"] for look in looks.values() if look["color"] == color}
        symbol = next((name for name in (wanted, *_SPARE) if name not in taken), wanted)
        looks[method] = dict(color=color, symbol=symbol)
    return looks


def tradeoff_figure(quality: Any, paper: Any = None, same_as: Mapping[str, str] | None = None, note: str = "",
                    source: str = "") -> go.Figure:  # fmt: skip
    """Draw the score on other modalities over the score on the modality learned from, a point a method.

    Args:
        quality: frame of :func:`srcid.evaluation.comparison.quality`.
        paper: frame of :func:`srcid.evaluation.paper.paper_scores`, drawn in a panel of its own.
        same_as: label of the runs' method that a row of ``paper`` corresponds to, for equal looks.
        note: what is different about the paper's figures.
        source: which runs, for the caption.
    """
    quality = _scored(quality)
    if not len(quality):
        return empty_figure(_NOTHING)
    names = list(quality.index)
    beside = paper is not None and len(paper[AVERAGE].dropna()) > 0
    titles = ["these runs", f"the paper's Table I ({note})"] if beside else ["these runs"]
    widths = [0.62, 0.38] if beside else [1]
    fig = make_subplots(1, len(titles), column_widths=widths, horizontal_spacing=0.1, subplot_titles=titles)
    panel_titles(fig)
    theirs = {name: same_as.get(name, name) for name in paper[AVERAGE].dropna().index} if beside else {}
    theirs_across = [name for name in paper.index if name.startswith("DCID")] if beside else []
    looks = method_looks(names + [name for name in theirs.values() if name not in names])
    bits = quality["bits", "mean"]
    for name in names:
        row = quality.loc[name]
        size = 8 + 0.5 * row["bits", "mean"] if np.isfinite(row["bits", "mean"]) else 9
        label = f"{name} ({row['bits', 'mean']:.1f} bits)" if np.isfinite(bits[name]) else f"{name} (not discrete)"
        look = looks[name]
        fig.add_scatter(
            x=[row["within", "mean"]],
            y=[row["across", "mean"]],
            error_x=_bar(row, "within", look["color"]),
            error_y=_bar(row, "across", look["color"]),
            mode="markers",
            marker=dict(size=size, opacity=0.85, line=dict(width=1.5, color=look["color"]), **look),
            name=label,
            hovertemplate=name + ": own modality %{x:.1f} %, others %{y:.1f} %<extra></extra>",
            row=1,
            col=1,
        )
    _diagonal(fig, quality["within"].to_numpy(float), quality["across"].to_numpy(float), 1)
    if beside:
        rows = paper[AVERAGE].dropna()
        fig.add_scatter(
            x=rows[WITHIN],
            y=rows[ACROSS],
            mode="markers+text",
            marker=dict(
                size=12,
                color=[looks[theirs[name]]["color"] for name in rows.index],
                symbol=[looks[theirs[name]]["symbol"].removesuffix("-open") + "-open" for name in rows.index],
                line=dict(width=2),
            ),
            text=[f" {name}" for name in rows.index],
            textposition=["middle left" if x == rows[WITHIN].max() else "middle right" for x in rows[WITHIN]],
            textfont=dict(size=11, color=INK),
            showlegend=False,
            hovertemplate="%{text}: own modality %{x:.1f} %, others %{y:.1f} %<extra></extra>",
            row=1,
            col=2,
        )
        fig.update_xaxes(title_text="score, m → m, %", row=1, col=2, range=_room(rows[WITHIN]))
        fig.update_yaxes(title_text="score, m → n, %", row=1, col=2, range=_room(rows[ACROSS]))
    fig.update_xaxes(title_text="score on the modality learned from (m → m), %", zeroline=False, row=1, col=1)
    fig.update_yaxes(title_text="score on another modality (m → n), %", zeroline=False, row=1, col=1)
    best, top = quality["across", "mean"].idxmax(), quality["within", "mean"].idxmax()
    title = (
        f"{best} scores highest on other modalities ({quality.loc[best, ('across', 'mean')]:.0f} %), "
        f"{top} on its own ({quality.loc[top, ('within', 'mean')]:.0f} %)"
    )
    caption = (
        "Mean over tasks and directions, then over training seeds. "
        + _INTERVALS
        + " Size grows with the bits in use a step (entropy of the codes). On the dotted line nothing is lost on the "
        "way to another modality. "
    )
    if beside:
        without = [name for name in theirs_across if name not in theirs]
        caption += f"The paper's points: {note}; only their order can be compared. "
        caption += f"It gives no m → m of {', '.join(without)}. " if without else ""
    finish(fig, title, caption + source, height=400, top=112)
    return legend_line(fig).update_layout(legend_itemsizing="constant")


def reconstruction_figure(quality: Any, source: str = "") -> go.Figure:
    """Draw the score on other modalities over the reconstruction error, a point a method.

    Args:
        quality: frame of :func:`srcid.evaluation.comparison.quality`.
        source: which runs, for the caption.
    """
    scored = _scored(quality)
    known = scored[np.isfinite(scored["reconstruction", "mean"].to_numpy(float))]
    if not len(known):
        return empty_figure("No reconstruction error: cost.json of these runs has no val/recon.")
    fig = make_subplots(1, 2, horizontal_spacing=0.09, subplot_titles=["another modality", "the modality learned from"])
    panel_titles(fig)
    looks = method_looks(list(quality.index))
    for name in known.index:
        row, look = known.loc[name], looks[name]
        for column, score in enumerate(("across", "within"), start=1):
            fig.add_scatter(
                x=[row["reconstruction", "mean"]],
                y=[row[score, "mean"]],
                error_x=_bar(row, "reconstruction", look["color"]),
                error_y=_bar(row, score, look["color"]),
                mode="markers",
                marker=dict(size=11, opacity=0.85, line=dict(width=1.5, color=look["color"]), **look),
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                hovertemplate=name + ": error %{x:.4f}, score %{y:.1f} %<extra></extra>",
                row=1,
                col=column,
            )
    fig.update_xaxes(title_text="validation reconstruction error, layer 1 (mean squared)", zeroline=False, nticks=6)
    fig.update_yaxes(title_text="score, %", zeroline=False)
    fig.update_yaxes(matches="y", col=2)
    spread = known["reconstruction", "mean"]
    title = (
        f"Best rebuilt: {spread.idxmin()}; best understood across modalities: {known['across', 'mean'].idxmax()} "
        f"(errors differ by {100 * (spread.max() / spread.min() - 1):.0f} %)"
    )
    caption = (
        "Reconstruction reads codes and specific features together, so a coarse code need not cost much. Error: mean "
        "over modalities, in units of the features; last validation. Mean over training seeds. " + _INTERVALS + " "
    )
    finish(fig, title, caption + source, height=320, top=112)
    return legend_line(fig)


def cost_figure(quality: Any, source: str = "") -> go.Figure:
    """Draw what each method scores beside what it costs: a row a method, a panel a quantity.

    Args:
        quality: frame of :func:`srcid.evaluation.comparison.quality`.
        source: which runs, for the caption.
    """
    if not len(quality):
        return empty_figure(_NOTHING)
    panels = {
        "across": "m → n, %", "within": "m → m, %", "bits": "bits in use a step", "parameters": "parameters, millions",
        "ms_per_step": "ms a step", "memory": "memory, GB",
    }  # fmt: skip
    fig = make_subplots(
        1, len(panels), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=list(panels.values())
    )
    panel_titles(fig)
    names, looks = list(quality.index), method_looks(list(quality.index))
    for column, quantity in enumerate(panels, start=1):
        for name in names:
            row, look = quality.loc[name], looks[name]
            fig.add_scatter(
                x=[row[quantity, "mean"]],
                y=[name],
                error_x=_bar(row, quantity, look["color"]),
                mode="markers",
                marker=dict(size=9, line=dict(width=1.5, color=look["color"]), **look),
                showlegend=False,
                hovertemplate="%{y}: %{x:.3g}<extra></extra>",
                row=1,
                col=column,
            )
        if quantity not in ("across", "within"):
            fig.update_xaxes(rangemode="tozero", row=1, col=column)
    fig.update_xaxes(zeroline=False, nticks=5, tickangle=0)
    fig.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.4])
    slow = quality["ms_per_step", "mean"]
    title = "What the scores cost"
    if np.isfinite(slow.to_numpy(float)).all():
        title += f": a step takes {slow.min():.0f} to {slow.max():.0f} ms"
    caption = (
        f"Mean over training seeds. {_INTERVALS} Step times: median, and range over runs, of the machine as it was, "
        "with whatever else it did; small differences mean nothing. Memory: the largest resident size of the whole "
        "process. Identity has no bits. "
    )
    return finish(fig, title, caption + source, height=30 * len(names) + 40, top=84, left=60 + 7 * max(map(len, names)))


def forest_figure(pairs: Any, margin: float = 1.0, source: str = "") -> go.Figure:
    """Draw paired differences against the reference: a panel a task, a row a method, a mark for m → n and for m → m.

    Args:
        pairs: frame of :func:`srcid.evaluation.comparison.paired`, for the means of tasks.
        margin: points that count as nothing; shaded.
        source: which runs, for the caption.
    """
    pairs = pairs[np.isfinite(pairs["difference"].to_numpy(float))]
    if not len(pairs):
        return empty_figure("No two methods share a seed: there is nothing to pair.")
    tasks, methods = list(dict.fromkeys(pairs["task"])), list(dict.fromkeys(pairs["method"]))
    fig = make_subplots(1, len(tasks), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=tasks)
    panel_titles(fig)
    kinds = {
        ACROSS: ("another modality, m → n", GENERAL, "circle", 0.16),
        WITHIN: ("own, m → m", INK, "diamond", -0.16),
    }
    for column, task in enumerate(tasks, start=1):
        for direction, (name, color, symbol, shift) in kinds.items():
            part = pairs[(pairs["task"] == task) & (pairs["direction"] == direction)]
            sure = (part["p_holm"] < 0.05).to_numpy()
            ends = part[["low", "high"]].to_numpy(float)
            fig.add_scatter(
                x=part["difference"],
                y=[len(methods) - 1 - methods.index(method) + shift for method in part["method"]],
                error_x=dict(
                    array=_finite(ends[:, 1] - part["difference"].to_numpy(float)),
                    arrayminus=_finite(part["difference"].to_numpy(float) - ends[:, 0]),
                    color=color,
                    thickness=1.6,
                    width=0,
                ),
                mode="markers",
                marker=dict(
                    size=9,
                    color=color,
                    symbol=[symbol if s else f"{symbol}-open" for s in sure],
                    line=dict(width=1.8, color=color),
                ),
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                customdata=[f"{m}, {len(s)} seeds" for m, s in zip(part["method"], part["seeds"], strict=True)],
                hovertemplate="%{customdata}: %{x:+.1f} points<extra></extra>",
                row=1,
                col=column,
            )
        fig.add_vrect(x0=-margin, x1=margin, fillcolor=FAINT, line_width=0, layer="below", row=1, col=column)
        fig.add_vline(x=0, line=dict(color=INK, width=1, dash="dot"), row=1, col=column)
    fig.update_xaxes(title_text="difference, points", zeroline=False)
    fig.update_yaxes(
        tickvals=list(range(len(methods)))[::-1], ticktext=methods, range=[-0.6, len(methods) - 0.4], zeroline=False
    )
    reference, sure = pairs["reference"].iloc[0], int((pairs["p_holm"] < 0.05).sum())
    title = f"Against {reference} on the same seeds, {sure} of {len(pairs)} differences stand after correction"
    counts = sorted({len(seeds) for seeds in pairs["seeds"]})
    caption = (
        f"Mean difference of paired seeds ({' or '.join(map(str, counts))} pairs), 95 % t-interval. Filled: p below "
        f"0.05 after Holm's correction for all {len(pairs)} differences; open: undecided. Shaded: less than "
        f"{margin:g} point{'' if margin == 1 else 's'}. "
    )
    left = 60 + 7 * max(map(len, methods))
    finish(fig, title, caption + source, height=38 * len(methods) + 50, top=112, left=left)
    return legend_line(fig)


def _scored(quality: Any) -> Any:
    """Methods with an average of both kinds."""
    return quality[np.isfinite(quality["across", "mean"]) & np.isfinite(quality["within", "mean"])]


def _bar(row: Any, quantity: str, color: str) -> dict:
    """Error bar of one point; none where the interval is not known."""
    mean, low, high = (float(row[quantity, part]) for part in ("mean", "low", "high"))
    if not np.isfinite(low):
        return dict(array=[0], visible=False)
    return dict(type="data", symmetric=False, array=[high - mean], arrayminus=[mean - low], color=color, width=0,
                thickness=1.6)  # fmt: skip


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0.0)


def _diagonal(fig: go.Figure, xs: np.ndarray, ys: np.ndarray, column: int) -> None:
    """The line of equal scores, as far as points and bars reach."""
    low, high = max(np.nanmin(xs), np.nanmin(ys)), min(np.nanmax(xs), np.nanmax(ys))
    low, high = min(low, high), max(low, high)
    fig.add_scatter(
        x=[low, high], y=[low, high], mode="lines", line=dict(color=INK, width=1, dash="dot"), hoverinfo="skip",
        showlegend=False, row=1, col=column,
    )  # fmt: skip


def _room(values: Any) -> list[float]:
    low, high = float(values.min()), float(values.max())
    pad = 0.25 * (high - low) or 1.0
    return [low - pad, high + pad]
