"""Whether modalities agree: shares of equal codes against chance, and which codes meet which."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.codebook.figures.usage import interval, place_name, sentences, whiskers
from srcid.statistics import t_interval
from srcid.style import (
    GENERAL,
    INK,
    OKABE_ITO,
    blanks,
    empty_figure,
    finish,
    heat_scale,
    legend_line,
    modality_colors,
    panel_titles,
)

_ROW = 17  # pixels of a row of dots
_LAYERS = (GENERAL, *OKABE_ITO[2:4])  # colours of layers where nothing else has one
_LOOKS = {"all": "circle", "event": "square", "background": "diamond"}
# title and axis of each measure, its field, the fields of its interval, and what chance gives
_MEASURES = (
    ("same code", ".0%", "match", ("low", "high"), "chance"),
    ("NMI", "", "nmi", ("nmi_low", "nmi_high"), "nmi_chance"),
    ("AMI", "", "ami", ("ami_low", "ami_high"), None),
    ("usage distance", "", "distance", ("distance_low", "distance_high"), None),
)


def agreement_figure(agreements: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = ()) -> go.Figure:
    """Draw how far the modalities agree, for each pair at all steps, at events, and on background.

    Args:
        agreements: :class:`srcid.codebook.agreement.Agreement` of the layers.
        modalities: in the order of the store, which fixes their colours.
        notes: why there are none; shown in their place.
    """
    pairs = [(a, pair) for a in agreements for pair in a.pairs]
    if not pairs:
        return empty_figure(sentences([*notes, *(n for a in agreements for n in a.notes)]) or "There is no pair.")
    modalities = tuple(modalities) or tuple(dict.fromkeys(m for _, p in pairs for m in (p.first, p.second)))
    colors = modality_colors(modalities)
    rows, ticks = _places(pairs, colors)
    fig = make_subplots(
        1, len(_MEASURES), shared_yaxes=True, horizontal_spacing=0.035, subplot_titles=[m[0] for m in _MEASURES]
    )
    panel_titles(fig)
    for column, (_, form, field, ends, chance) in enumerate(_MEASURES, start=1):
        here = dict(row=1, col=column)
        for where, symbol in _LOOKS.items():
            chosen = [(y, p) for y, (_, p) in zip(rows, pairs, strict=True) if p.where == where]
            if not chosen:
                continue
            y = [place for place, _ in chosen]
            x, low, high = (np.array([getattr(p, f) for _, p in chosen]) for f in (field, *ends))
            form_ = form or ".3f"
            fig.add_scatter(
                x=x,
                y=y,
                mode="markers",
                name=f"{where} steps",
                legendgroup=where,
                showlegend=column == 1,
                marker=dict(symbol=symbol, size=8, color=INK),
                error_x=whiskers(x, low, high, INK),
                customdata=[
                    f"{p.first} – {p.second}, {where}: {v:{form_}}{interval(a, b, form_)}"
                    + (f"<br>by chance {getattr(p, chance):{form_}}" if chance else "")
                    + f"<br>{p.steps:,} clip-steps"
                    for (_, p), v, a, b in zip(chosen, x, low, high, strict=True)
                ],
                hovertemplate="%{customdata}<extra></extra>",
                **here,
            )
        fig.add_scatter(
            x=[getattr(p, chance) if chance else 0.0 for _, p in pairs] if field != "distance" else [None],
            y=rows,
            mode="markers",
            name="by chance",
            legendgroup="chance",
            showlegend=column == 1,
            hoverinfo="skip",
            marker=dict(symbol="line-ns-open", size=11, color=INK, line_width=1.2),
            **here,
        )
        values = [getattr(p, f) for _, p in pairs for f in (field, *ends)]
        least, most = np.nanmin([*values, 0.0]), np.nanmax([*values, 0.05])
        room = 0.04 * (most - least)
        fig.update_xaxes(tickformat=form, range=[least - room, most + room], nticks=5, zeroline=False, **here)
    for column, unit in enumerate(("share of steps", "0 to 1", "0 chance, 1 equal", "0 equal, 1 disjoint"), start=1):
        fig.update_xaxes(title_text=unit, row=1, col=column)
    fig.update_yaxes(
        tickvals=list(ticks), ticktext=list(ticks.values()), range=[max(rows) + 0.7, min(rows) - 0.7], showgrid=False,
        zeroline=False,
    )  # fmt: skip
    found = [_finding(agreement) for agreement in agreements if agreement.pairs]
    told = sentences([*notes, *(note for a in agreements for note in a.notes)])
    p = agreements[0].params
    caption = (
        f"95 % intervals: same code from {p['bootstrap']} resamples of clips, the others from leaving out twentieths "
        "of the clips. NMI: normalised mutual information; AMI: the same less what random pairing gives; neither minds "
        "if one modality's codes are renamed. Usage distance: Jensen–Shannon distance of how often each code is used. "
        f"{told}"
    )
    title = f"Steps at which two modalities have the same code: {'; '.join(found)}"
    finish(fig, title, caption, height=int(_ROW * (max(rows) + 1.4)), top=104, left=150)
    return legend_line(fig)


def part_figure(parts: Any, source: str = "") -> go.Figure:
    """Draw how far the modalities agree in each part of a code: a row a method, a numbered mark a stage or layer.

    Args:
        parts: frame of :func:`srcid.codebook.agreement.part_agreement` records of many runs, with a column ``method``.
        source: which runs, for the caption.
    """
    places = [where for where in ("event", "background") if len(parts) and where in set(parts["where"])] or ["all"]
    if not len(parts):
        return empty_figure("No run has codes of two modalities: there is nothing to agree.")
    methods = list(dict.fromkeys(parts["method"]))
    fig = make_subplots(
        1, len(places), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=[f"{w} steps" for w in places]
    )
    panel_titles(fig)
    means: dict[tuple, float] = {}
    reach = 0.2
    offsets = {}
    for method, part in parts.groupby("method"):
        keys = sorted(set(zip(part["layer"], part["stage"], strict=True)))
        offsets[method] = {key: 0.26 * ((len(keys) - 1) / 2 - place) for place, key in enumerate(keys)}
    for column, where in enumerate(places, start=1):
        here = parts[parts["where"] == where]
        for (method, layer, stage), part in here.groupby(["method", "layer", "stage"], sort=False):
            values = part["kappa"].to_numpy(float)
            low, high = t_interval(values).ends
            means[where, method, layer, stage] = mean = float(values.mean())
            reach = max(reach, mean, min(high, 1.5 * mean) if np.isfinite(high) else 0)
            look = _layer_look(layer)
            fig.add_scatter(
                x=[mean],
                y=[len(methods) - 1 - methods.index(method) + offsets[method][layer, stage]],
                error_x=whiskers(*np.array([[mean], [low], [high]]), look["color"]),
                mode="markers+text",
                text=[str(stage)],
                textfont=dict(size=10, color="white"),
                marker=dict(size=15, **look),
                showlegend=False,
                customdata=[
                    f"{method}, layer {layer}, stage {stage}: κ {mean:.3f}{interval(low, high, '.3f')}<br>same code at "
                    f"{part['match'].mean():.1%} of steps, {part['chance'].mean():.1%} by chance; {len(part)} runs"
                ],
                hovertemplate="%{customdata}<extra></extra>",
                row=1,
                col=column,
            )
    for layer in sorted(set(parts["layer"])):
        look = dict(size=13, **_layer_look(layer))
        fig.add_scatter(x=[None], y=[None], mode="markers", marker=look, name=f"layer {layer}", row=1, col=1)
    fig.update_xaxes(title_text="Cohen's κ (0: chance, 1: always the same code)", zeroline=True, zerolinecolor=INK)
    fig.update_xaxes(zerolinewidth=1, range=[-0.04, 1.08 * reach])
    fig.update_yaxes(tickvals=list(range(len(methods)))[::-1], ticktext=methods, range=[-0.6, len(methods) - 0.4])
    fig.update_yaxes(zeroline=False)

    groups: dict[str, list[float]] = {"layer 1": [], "its later stages": [], "later layers": []}
    for (where, _, layer, stage), mean in means.items():
        name = "layer 1" if (layer, stage) == (1, 1) else "its later stages" if layer == 1 else "later layers"
        if where == places[0] and (layer == 1 or stage == 1):
            groups[name].append(mean)
    ranges = [f"{name} {_span(values)}" for name, values in groups.items() if values]
    title = f"Agreement of modalities, κ: {', '.join(ranges)}"
    caption = (
        "Numbers: stages of a residual quantiser, each compared by itself. Mean over pairs of "
        "modalities and over training seeds, test clips. Bars: 95 % t-intervals over training seeds. "
    )
    left = 60 + 7 * max(map(len, methods))
    finish(fig, title, caption + source, height=52 * len(methods) + 30, top=112, left=left)
    return legend_line(fig)


def _layer_look(layer: int) -> dict[str, str]:
    return dict(color=_LAYERS[(layer - 1) % len(_LAYERS)], symbol="circle" if layer == 1 else "square")


def _span(values: Sequence[float]) -> str:
    low, high = (round(value, 2) + 0.0 for value in (min(values), max(values)))  # no negative zero
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def confusion_map(
    confusions: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = (), most: int = 60
) -> go.Figure:
    """Draw which code of one modality meets which of another, one square a pair of modalities.

    Args:
        confusions: :class:`srcid.codebook.agreement.Confusion` of pairs of modalities, of one or several layers.
        modalities: in the order of the store, which fixes their colours.
        most: largest number of codes a side, the most used first.
    """
    if not confusions:
        return empty_figure(sentences(notes) or "There is no pair of modalities to compare.")
    modalities = tuple(modalities) or tuple(dict.fromkeys(m for c in confusions for m in (c.first, c.second)))
    colors = modality_colors(modalities)
    columns = min(3, len(confusions))
    rows, side, gap = -(-len(confusions) // columns), 240 if columns == 3 else 330, 92
    height = rows * side + (rows - 1) * gap
    fig = make_subplots(
        rows,
        columns,
        subplot_titles=[f"{place_name(c)}: {c.first} – {c.second}" for c in confusions],
        horizontal_spacing=0.09,
        vertical_spacing=gap / height if rows > 1 else 0,
    )
    panel_titles(fig)
    covered, biggest = [], 0
    for number, c in enumerate(confusions):
        here = dict(row=number // columns + 1, col=number % columns + 1)
        k = min(most, len(c.codes))
        counts = c.counts[:k, :k]
        covered.append(counts.sum() / max(c.steps, 1))
        biggest = max(biggest, k)
        names = [str(code) for code in c.codes[:k]]
        share = counts / np.maximum(c.counts[:k].sum(axis=1, keepdims=True), 1)
        fig.add_heatmap(
            z=blanks(np.where(counts > 0, share, np.nan)),
            x=np.arange(1, k + 1),
            y=np.arange(1, k + 1),
            zmin=0,
            zmax=1,
            colorscale=heat_scale(INK, signed=False),
            showscale=number == 0,
            colorbar=dict(title=dict(text="share of row", font_size=11), tickformat=".0%", thickness=10, len=0.6),
            hoverongaps=False,
            customdata=[
                [f"{c.first} {a}, {c.second} {b}: {n:,} steps" for b, n in zip(names, row, strict=True)]
                for a, row in zip(names, counts, strict=True)
            ],
            hovertemplate="%{customdata}<br>%{z:.0%} of the row<extra></extra>",
            **here,
        )  # fmt: skip
        label = "place of the code of <span style='color:{}'>{}</span>".format
        fig.update_xaxes(title_text=label(colors[c.second], c.second), showgrid=False, **here)
        fig.update_yaxes(title_text=label(colors[c.first], c.first), showgrid=False, **here)
        fig.update_xaxes(range=[0.5, k + 0.5], constrain="domain", **here)
        fig.update_yaxes(range=[k + 0.5, 0.5], constrain="domain", **here)
    equal = [f"{place_name(c)}, {c.first} – {c.second}: {c.match:.0%}" for c in confusions]
    caption = (
        "Codes in the order of how often both modalities use them, the same order on both sides: equal codes lie on "
        f"the diagonal, and a dark cell off it is one meaning with two names. The {biggest} codes used most; they hold "
        f"{min(covered):.0%} to {max(covered):.0%} of the steps. Shares are of all steps of the row, drawn or not. "
        f"{confusions[0].params['clips']:,} clips."
    )
    return finish(fig, f"Steps with equal codes: {'; '.join(equal)}", caption, height=height, top=96, left=70)


def _places(pairs: Sequence[tuple[Any, Any]], colors: dict[str, str]) -> tuple[list[float], dict[float, str]]:
    """Height of every dot, and the labels: a group of rows for each pair of modalities, a gap between layers."""
    rows, ticks, y, layer = [], {}, 0.0, None
    for (name, first, second), group in groupby(pairs, key=lambda p: (place_name(p[0]), p[1].first, p[1].second)):
        count = len(list(group))
        y += 0.0 if layer is None else 0.7 if layer == name else 1.4
        a, b = (f"<span style='color:{colors[m]}'>{m}</span>" for m in (first, second))
        ticks[y + (count - 1) / 2] = f"{name if layer != name else ''}  {a} – {b}"
        rows += [y + i for i in range(count)]
        y, layer = y + count, name
    return rows, ticks


def _finding(agreement: Any) -> str:
    whole = [pair for pair in agreement.pairs if pair.where == "all"] or list(agreement.pairs)
    match, chance = [100 * p.match for p in whole], [100 * p.chance for p in whole]
    span = f"{min(match):.1f} to {max(match):.1f}" if len(match) > 1 else f"{match[0]:.1f}"
    return f"{place_name(agreement)} {span} % (chance {max(chance):.1f} %)"
