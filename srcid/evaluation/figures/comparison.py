"""Methods against each other: what they score on other modalities and on their own, what they cost, what is certain.

A quantiser keeps its colour, finer residual ones are darker; the shape is the method's (circle: one layer, diamond:
two). Every point is a mean over training seeds, every bar its t-interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import (
    DOTTED,
    error_bars,
    legend_entry,
    name_upwards,
    outlined,
    panels,
    place_of,
    room_for,
    side_by_side,
)
from srcid.evaluation.comparison import ACROSS, AVERAGE, WITHIN, Differences
from srcid.evaluation.tradeoff import Ablation, Quality
from srcid.style import FAINT, GENERAL, INK, OKABE_ITO, empty_figure, fade, finish, legend_line

_COLORS = {
    "vq": OKABE_ITO[0], "rvq2": "#EBB552", "rvq3": "#E0862B", "rvq4": "#C24E00", "fsq": OKABE_ITO[2], "identity": INK,
}  # fmt: skip
_SHAPES = {"dcid": "circle", "srcid": "diamond", "cmcm": "square"}
_SPARE = ("triangle-up", "star", "hexagon", "cross", "pentagon", "triangle-down")
_NOTHING = "No method has scores of both kinds, m → n and m → m: there is nothing to compare."
_INTERVALS = "Bars: 95 % t-intervals over training seeds; none where there is one seed."
_PANELS = {
    "across": "m → n, %", "within": "m → m, %", "bits": "bits in use a step", "parameters": "parameters, M",
    "ms_per_step": "ms a step", "memory": "memory, GB",
}  # fmt: skip
_CLUB = {(): "in every layer", (1,): "not in layer 1", (2,): "not in layer 2", (1, 2): "in no layer"}


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


def tradeoff_figure(quality: Quality, paper: Any = None, same_as: Mapping[str, str] | None = None, note: str = "",
                    source: str = "") -> go.Figure:  # fmt: skip
    """Draw the score on other modalities over the score on the modality learned from, a point a method.

    Args:
        quality: of :func:`srcid.evaluation.tradeoff.quality`.
        paper: frame of :func:`srcid.evaluation.tables.paper_scores`, drawn in a panel of its own.
        same_as: label of the runs' method that a row of ``paper`` corresponds to, for equal looks.
        note: what is different about the paper's figures.
        source: which runs, for the caption.
    """
    rows = quality.rows
    rows = rows[np.isfinite(rows["across", "mean"]) & np.isfinite(rows["within", "mean"])]
    if not len(rows):
        return empty_figure(_NOTHING)
    theirs = paper[AVERAGE].dropna() if paper is not None else ()
    titles = ["these runs", "the paper's Table I (other data)"] if len(theirs) else ["these runs"]
    widths = [0.62, 0.38] if len(theirs) else [1]
    fig = side_by_side(titles, column_widths=widths, horizontal_spacing=0.1)
    same = {name: (same_as or {}).get(name, name) for name in (theirs.index if len(theirs) else ())}
    looks = method_looks(list(dict.fromkeys([*rows.index, *same.values()])))
    bits = rows["bits", "mean"]
    names = {m: f"{m} ({b:.1f} bits)" if np.isfinite(b) else f"{m} (not discrete)" for m, b in bits.items()}
    _points(fig, rows, "within", "across", looks, names, sizes=9 + 0.5 * (bits - 2).fillna(0), row=1, col=1)
    _diagonal(fig, rows["within"].to_numpy(float), rows["across"].to_numpy(float))
    fig.update_xaxes(title_text="score on the modality learned from (m → m), %", zeroline=False, row=1, col=1)
    fig.update_yaxes(title_text="score on another modality (m → n), %", zeroline=False, row=1, col=1)
    caption = (
        f"Mean over tasks and directions, then over training seeds. {_INTERVALS} Size grows with the bits in use a "
        "step (entropy of the codes). On the dotted line nothing is lost on the way to another modality. "
    )
    if len(theirs):
        _paper_points(fig, theirs, [looks[same[name]] for name in theirs.index])
        without = [name for name in paper.index if name.startswith("DCID") and name not in same]
        caption += f"The paper's points: {note}; only their order can be compared. "
        caption += f"It gives no m → m of {', '.join(without)}. " if without else ""
    finish(fig, quality.finding, caption + source, height=400, top=112)
    return legend_line(fig).update_layout(legend_itemsizing="constant")


def reconstruction_figure(quality: Quality, source: str = "") -> go.Figure:
    """Draw the score on other modalities, and on the own one, over the reconstruction error, a point a method."""
    rows = quality.rows
    known = rows[np.isfinite(rows[[(name, "mean") for name in ("across", "within", "reconstruction")]]).all(axis=1)]
    if not len(known):
        return empty_figure("No reconstruction error: cost.json of these runs has no val/recon.")
    fig = side_by_side(["another modality", "the modality learned from"], horizontal_spacing=0.09)
    looks = method_looks(list(rows.index))
    for column, score in enumerate(("across", "within"), start=1):
        _points(fig, known, "reconstruction", score, looks, row=1, col=column)
    fig.update_xaxes(title_text="validation reconstruction error, layer 1 (mean squared)", zeroline=False, nticks=6)
    fig.update_yaxes(title_text="score, %", zeroline=False)
    fig.update_yaxes(matches="y", col=2)
    error = known["reconstruction", "mean"]
    title = f"Reconstruction errors from {error.min():.3f} ({error.idxmin()}) to {error.max():.3f} ({error.idxmax()})"
    caption = (
        "Reconstruction reads codes and specific features together, so a coarse code need not cost much. Error: mean "
        f"over modalities, in units of the features; last validation. Mean over training seeds. {_INTERVALS} "
    )
    finish(fig, title, caption + source, height=320, top=112)
    return legend_line(fig)


def cost_figure(quality: Quality, source: str = "") -> go.Figure:
    """Draw what each method scores beside what it costs: a row a method, a panel a quantity."""
    rows, names = quality.rows, list(quality.rows.index)
    if not names:
        return empty_figure(_NOTHING)
    fig, height = panels(list(_PANELS.values()), 3, 30 * len(names) + 40, shared_yaxes=True, horizontal_spacing=0.04)
    for number, quantity in enumerate(_PANELS):
        where = place_of(number, 3)
        _points(fig, rows, quantity, None, method_looks(names), size=9, legend=False, **where)
        if quantity not in ("across", "within"):
            fig.update_xaxes(rangemode="tozero", **where)
    fig.update_xaxes(zeroline=False, nticks=5, tickangle=0)
    fig.update_yaxes(categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.4])
    slow = rows["ms_per_step", "mean"]
    title = "What the scores cost"
    title += f": a step takes {slow.min():.0f} to {slow.max():.0f} ms" if np.isfinite(slow.astype(float)).all() else ""
    caption = (
        f"Mean over training seeds. {_INTERVALS} Step times: median and range over runs, with whatever load the "
        "machine had; small differences mean nothing. Memory: the largest resident size of the whole process. Identity "
        "has no bits. "
    )
    return finish(fig, title, caption + source, height=height, top=84, left=room_for(names))


def forest_figure(differences: Differences, margin: float = 1.0, source: str = "") -> go.Figure:
    """Draw paired differences against the reference: a panel a task, a row a method, a mark for m → n and for m → m.

    Args:
        differences: of :func:`srcid.evaluation.comparison.paired`, for the means of tasks.
        margin: points that count as nothing; shaded.
        source: which runs, for the caption.
    """
    pairs = differences.rows.assign(certain=differences.certain)
    pairs = pairs[np.isfinite(pairs["difference"].to_numpy(float))]
    if not len(pairs):
        return empty_figure("No two methods share a seed: there is nothing to pair.")
    tasks, methods = list(dict.fromkeys(pairs["task"])), list(dict.fromkeys(pairs["method"]))
    fig = side_by_side(tasks, shared_yaxes=True, horizontal_spacing=0.03)
    kinds = {ACROSS: ("another modality, m → n", GENERAL, "circle", 0.16),
             WITHIN: ("own, m → m", INK, "diamond", -0.16)}  # fmt: skip
    for column, task in enumerate(tasks, start=1):
        for direction, (name, color, symbol, shift) in kinds.items():
            part = pairs[(pairs["task"] == task) & (pairs["direction"] == direction)]
            marker = outlined(color, symbol=[symbol if sure else f"{symbol}-open" for sure in part["certain"]])
            fig.add_scatter(
                x=part["difference"], y=[len(methods) - 1 - methods.index(m) + shift for m in part["method"]],
                error_x=error_bars(*part[["difference", "low", "high"]].to_numpy(float).T, color), mode="markers",
                marker=marker, name=name, legendgroup=name, showlegend=column == 1,
                customdata=[f"{m}, {len(s)} seeds" for m, s in zip(part["method"], part["seeds"], strict=True)],
                hovertemplate="%{customdata}: %{x:+.1f} points<extra></extra>", row=1, col=column,
            )  # fmt: skip
        fig.add_vrect(x0=-margin, x1=margin, fillcolor=FAINT, line_width=0, layer="below", row=1, col=column)
        fig.add_vline(x=0, line=DOTTED, row=1, col=column)
    fig.update_xaxes(title_text="difference, points", zeroline=False)
    name_upwards(fig, methods)
    counts = sorted({len(seeds) for seeds in pairs["seeds"]})
    caption = (
        f"Mean difference of paired seeds ({' or '.join(map(str, counts))} pairs), 95 % t-interval. Filled: p below "
        f"0.05 after Holm's correction for all {len(pairs)} differences; open: undecided. Shaded: less than "
        f"{margin:g} point{'' if margin == 1 else 's'}. "
    )
    finish(fig, differences.finding, caption + source, height=38 * len(methods) + 50, top=112, left=room_for(methods))
    return legend_line(fig)


def ablation_figure(ablation: Ablation, source: str = "") -> go.Figure:
    """Draw scores over the codebook size, and with CLUB taken from single layers, in the manner of the paper's Fig. 3.

    Args:
        ablation: of :func:`srcid.evaluation.tradeoff.ablation`.
        source: which runs, for the caption.
    """
    rows = ablation.rows
    groups = rows.groupby(["family", "direction"], sort=False)
    sizes = {key: part[part["club_off"].map(len) == 0] for key, part in groups}
    sizes = {key: part for key, part in sizes.items() if part["codebook_size"].nunique() > 1}
    club = {}
    for key, part in groups:  # at the codebook size at which most variants of CLUB were run
        variants = part.groupby("codebook_size")["club_off"].nunique()
        if variants.max() > 1:
            club[key] = part[(part["codebook_size"] == variants.idxmax()) & part["club_off"].isin(_CLUB)]
    if not sizes and not club:
        return empty_figure("No ablation: these runs have one codebook size each, and CLUB on in every layer.")
    titles = ["codebook size, scored m → n", "codebook size, scored m → m"] if sizes else []
    last, titles = len(titles) + 1, [*titles, "CLUB switched off"] if club else titles
    fig = side_by_side(titles, shared_yaxes=True, horizontal_spacing=0.03)
    families = list(dict.fromkeys(family for family, _ in [*sizes, *club]))
    colors = {family: OKABE_ITO[place % len(OKABE_ITO)] for place, family in enumerate(families)}
    for (family, direction), part in sizes.items():
        _curve(fig, part, family, direction, colors[family])
    states = [state for state in _CLUB if any(state in set(part["club_off"]) for part in club.values())]
    for place, ((family, direction), part) in enumerate(club.items()):
        shift = 0.16 * (place - (len(club) - 1) / 2)
        fig.add_scatter(
            x=[states.index(state) + shift for state in part["club_off"]], y=part["score"], mode="markers",
            error_y=error_bars(*part[["score", "low", "high"]].to_numpy(float).T, colors[family]),
            marker=_dot(colors[family], direction), legendgroup=family, showlegend=False,
            hovertemplate=f"{family}, {direction}: %{{y:.1f}} %<extra></extra>", row=1, col=last,
        )  # fmt: skip
    for family, color in colors.items():
        line = dict(color=color, width=2)
        legend_entry(fig, family, "lines+markers", line=line, marker=_dot(color, ACROSS), legendgroup=family)
    ticks = sorted({size for part in sizes.values() for size in part["codebook_size"]})
    for column in range(1, last):
        fig.update_xaxes(type="log", tickvals=ticks, ticktext=[str(t) for t in ticks],
                         title_text="codes L of a codebook", row=1, col=column)  # fmt: skip
    if club:
        labels = [f"CLUB<br>{_CLUB[state]}" for state in states]
        fig.update_xaxes(tickvals=list(range(len(states))), ticktext=labels, range=[-0.5, len(states) - 0.5], col=last)
    fig.update_yaxes(zeroline=False)
    fig.update_yaxes(title_text="score, %", row=1, col=1)
    missing = "" if sizes else "No runs with several codebook sizes. "
    missing += "" if club else "No runs with CLUB switched off. "
    seeds = " or ".join(str(n) for n in sorted({int(n) for n in rows["seeds"]}))
    caption = (
        f"Average over tasks and directions, mean over {seeds} training seeds; bands and bars: 95 % t-intervals. "
        "Filled: scored on another modality (m → n); open: on the one learned from (m → m). Undecided: not certain "
        "after correction for all pairs. "
    )
    finish(fig, ablation.finding, caption + missing + source, height=320, top=112)
    return legend_line(fig)


def _points(fig: go.Figure, rows: Any, x: str, y: str | None, looks: Mapping[str, dict[str, str]],
            names: Mapping[str, str] | None = None, sizes: Any = None, size: int = 11, legend: bool = True,
            **place: int) -> None:  # fmt: skip
    """Draw each method's mean with its bars: quantity ``x`` over ``y``, or over the method's name."""
    for method, row in rows.iterrows():
        look, name = looks[method], (names or {}).get(method, method)
        ends = {f"error_{axis}": error_bars(*([row[quantity, end]] for end in ("mean", "low", "high")), look["color"])
                for axis, quantity in (("x", x), ("y", y)) if quantity}  # fmt: skip
        marker = outlined(size=size if sizes is None else sizes[method], width=1.5, opacity=0.85, **look)
        what = f"{x} %{{x:.4g}}, {y} %{{y:.1f}} %" if y else "%{x:.3g}"
        fig.add_scatter(x=[row[x, "mean"]], y=[row[y, "mean"]] if y else [method], mode="markers", marker=marker,
                        **ends, name=name, legendgroup=method, showlegend=legend and place["col"] == 1,
                        hovertemplate=f"{method}: {what}<extra></extra>", **place)  # fmt: skip


def _paper_points(fig: go.Figure, rows: Any, looks: Sequence[dict[str, str]]) -> None:
    own, other = rows[WITHIN], rows[ACROSS]
    symbols = [look["symbol"].removesuffix("-open") + "-open" for look in looks]
    fig.add_scatter(
        x=own, y=other, mode="markers+text", showlegend=False, text=[f" {name}" for name in rows.index],
        textposition=["middle left" if x == own.max() else "middle right" for x in own],
        textfont=dict(size=11, color=INK),
        marker=dict(size=12, color=[look["color"] for look in looks], symbol=symbols, line=dict(width=2)),
        hovertemplate="%{text}: own modality %{x:.1f} %, others %{y:.1f} %<extra></extra>", row=1, col=2,
    )  # fmt: skip
    fig.update_xaxes(title_text="score, m → m, %", row=1, col=2, range=_room(own))
    fig.update_yaxes(title_text="score, m → n, %", row=1, col=2, range=_room(other))


def _curve(fig: go.Figure, part: Any, family: str, direction: str, color: str) -> None:
    """A family's scores over the codebook size, with the band of its intervals."""
    part = part.sort_values("codebook_size")
    here = dict(legendgroup=family, showlegend=False, row=1, col=1 if direction == ACROSS else 2)
    if np.isfinite(part["low"]).any():
        fig.add_scatter(x=[*part["codebook_size"], *part["codebook_size"][::-1]], y=[*part["low"], *part["high"][::-1]],
                        fill="toself", fillcolor=fade(color, 0.18), line_width=0, mode="lines", hoverinfo="skip",
                        **here)  # fmt: skip
    fig.add_scatter(x=part["codebook_size"], y=part["score"], mode="lines+markers", line=dict(color=color, width=2),
                    marker=_dot(color, direction), hovertemplate=family + ", L = %{x}: %{y:.1f} %<extra></extra>",
                    **here)  # fmt: skip


def _dot(color: str, direction: str) -> dict:
    return outlined(color, symbol="circle" if direction == ACROSS else "circle-open")


def _diagonal(fig: go.Figure, xs: np.ndarray, ys: np.ndarray) -> None:
    """The line of equal scores, as far as points and bars reach."""
    ends = sorted([max(np.nanmin(xs), np.nanmin(ys)), min(np.nanmax(xs), np.nanmax(ys))])
    fig.add_scatter(x=ends, y=ends, mode="lines", line=DOTTED, hoverinfo="skip", showlegend=False, row=1, col=1)


def _room(values: Any) -> list[float]:
    low, high = float(values.min()), float(values.max())
    pad = 0.25 * (high - low) or 1.0
    return [low - pad, high + pad]
