"""What codes mean: which classes go with which codes, and what a later layer adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.codebook.figures.usage import add_sharing, interval, place_name, sentences, shared_first, whiskers
from srcid.style import (
    GENERAL,
    INK,
    blanks,
    empty_figure,
    finish,
    heat_scale,
    legend_line,
    modality_colors,
    panel_titles,
)

_CLASS = 17  # pixels of a row of classes
_ALPHA = 0.05


def association_map(
    associations: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = (), most: int = 120
) -> go.Figure:
    """Draw codes against classes, and above them how pure every code is, with its interval.

    Args:
        associations: :class:`srcid.codebook.meaning.Association`, for instance one a layer.
        modalities: in the order of the store, which fixes their colours.
        notes: why there are none; shown in their place.
        most: largest number of codes drawn, the most used ones.
    """
    if not associations:
        return empty_figure(sentences(notes) or "There is no label to associate codes with.")
    heights = [h for a in associations for h in (96, _CLASS * max(3, len(a.classes)))]
    gap = 58
    total = sum(heights) + gap * (len(heights) - 1)
    fig = make_subplots(
        len(heights),
        1,
        row_heights=heights,
        vertical_spacing=gap / total,
        subplot_titles=[f"{_whose(a)}: {what}" for a in associations for what in ("purity of a code", f"'{a.label}'")],
    )  # fmt: skip
    panel_titles(fig)
    colors = modality_colors(modalities)
    for number, found in enumerate(associations):
        color = colors.get(found.modality, GENERAL)
        order = meaning_order(found, most)
        _purity(fig, found, order, color, 2 * number + 1)
        add_association(fig, found, order, color, 2 * number + 2)
        for row in (2 * number + 1, 2 * number + 2):
            fig.update_xaxes(range=[0.5, len(order) + 0.5], showgrid=False, row=row, col=1)
    fig.update_xaxes(title_text="place of the code: by the class it goes with most, the purest first", row=len(heights))
    a = associations[0]
    drawn = f" Drawn: the {most} codes used most." if any(len(f.codes) > most for f in associations) else ""
    told = sentences([*notes, *(n for f in associations for n in f.notes)])
    caption = (
        "Purity: share of a code's steps that hold its most frequent class; bars: 95 % Wilson intervals that count "
        "clips, not steps; dotted: what a single code would have. Shade: share of the code's steps that hold the "
        f"class. Dots: the class is more frequent with the code than with any (p < {_ALPHA}, corrected for all codes "
        f"and classes by Benjamini and Hochberg). {a.params['clips']:,} clips. {told}{drawn}"
    )
    title = "; ".join(
        f"{_whose(f)}: mean purity {f.weighted_purity:.0%} (one code: {f.majority:.0%}), AMI {f.ami:.2f}"
        for f in associations
    )
    return finish(fig, title[0].upper() + title[1:], caption, height=total, top=84, left=110)


def addition_figure(additions: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = ()) -> go.Figure:
    """Draw what earlier codes say of each known factor, and what a later layer adds, in bits a step.

    Args:
        additions: :class:`srcid.codebook.novelty.Addition`, of several labels and modalities.
        modalities: in the order of the store, which fixes their colours.
        notes: why there are none; shown in their place.
    """
    if not additions:
        return empty_figure(sentences(notes) or "There is no later layer to add something, or no label to ask about.")
    layers = sorted({a.layer for a in additions})
    one = len(layers) == 1
    about = [a.label if one else f"layer {a.layer}, {a.label}" for a in additions]
    labels = list(dict.fromkeys(about))
    whose = list(dict.fromkeys(a.modality for a in additions))
    place = {(n, m): i * (len(whose) + 0.8) + j for i, n in enumerate(labels) for j, m in enumerate(whose)}
    colors = {m: modality_colors(modalities).get(m, INK) for m in whose}
    most = 1.25 * max(0.05, *(a.high for a in additions))
    given = "layer " + " and ".join(map(str, additions[0].given)) if one else "earlier layers"
    later = f"layer {layers[0]}" if one else "the later layer"
    titles = [f"known from {given}", f"added by {later}"]
    fig = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=titles)
    panel_titles(fig)
    for m in whose:
        part = [a for a in additions if a.modality == m]
        y = [place[name, m] for name, a in zip(about, additions, strict=True) if a.modality == m]
        hover = [
            f"{a.label}, {m}<br>I(label; {given}) = {a.given_information:.3f} bits<br>"
            f"I(label; layer {a.layer} | {given}) = {a.information:.3f}{interval(a.low, a.high, '.3f')} bits, "
            f"p = {a.p_value:.2g}<br>left to say: {a.remaining:.3f} bits; {a.clips:,} clips"
            + "".join(f"<br>{note}" for note in a.notes)
            for a in part
        ]
        look = dict(customdata=hover, hovertemplate="%{customdata}<extra></extra>", showlegend=False, row=1)
        bar = dict(orientation="h", width=0.7, marker=dict(color=colors[m], line_width=0))
        fig.add_bar(x=[a.given_information for a in part], y=y, **bar, **look, col=1)
        x, low, high = (np.array([getattr(a, f) for a in part]) for f in ("information", "low", "high"))
        sure = [a.p_value < _ALPHA for a in part]
        symbols = ["circle" if s else "circle-open" for s in sure]
        marker = dict(symbol=symbols, size=9, color=colors[m], line=dict(width=1.8, color=colors[m]))
        fig.add_scatter(
            x=x, y=y, mode="markers", marker=marker, error_x=whiskers(x, low, high, colors[m]), **look, col=2
        )
        fig.add_scatter(
            x=[most] * len(part),
            y=y,
            mode="text",
            text=[f"of {a.remaining:.2f}" for a in part],
            textposition="middle left",
            textfont=dict(size=11, color=INK),
            hoverinfo="skip",
            showlegend=False,
            row=1,
            col=2,
        )
    for name, symbol in (
        ("added, p < 0.05", "circle"),
        ("added, not sure", "circle-open"),
    ):
        marker = dict(symbol=symbol, size=9, color=INK, line=dict(width=1.8, color=INK))
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker, hoverinfo="skip", row=1, col=2)
    every = list(place.values())
    fig.update_yaxes(
        tickvals=every,
        ticktext=[
            f"{label + ' · ' if j == 0 else ''}<span style='color:{colors[m]}'>{m}</span>"
            for label in labels
            for j, m in enumerate(whose)
        ],
        range=[max(every) + 0.7, -0.7],
        zeroline=False,
        showgrid=False,
    )
    fig.update_xaxes(title_text="bits a step", rangemode="tozero", zeroline=False)
    fig.update_xaxes(range=[-0.02 * most, most], col=2)
    joint = [a for a in additions if a.modality not in colors or colors[a.modality] == INK] or list(additions)
    said = [
        f"{a.label if one else f'{a.label} (layer {a.layer})'} {a.information:.2f}{interval(a.low, a.high, '.2f')}"
        for a in joint
    ]
    told = dict.fromkeys(notes, 0)
    for note in (note for a in additions for note in a.notes):
        told[note] = told.get(note, 0) + 1
    caption = (
        f"I(label; {later} | {given}), less what {additions[0].params['permutations']} "
        "permutations of clips give (a plug-in value is far too high where two layers' codes meet in many ways); bars "
        "reach from one correction to the other and 1.96 jackknife errors beyond. On the right: bits that were left to "
        f"say, H(label | {given}). {additions[0].clips:,} clips. "
        + sentences([f"{note} ({n} of {len(additions)} rows)" if n else note for note, n in told.items()])
    )
    title = f"{later.capitalize()} adds, in bits a step: {', '.join(said)}"
    finish(fig, title, caption, height=int(19 * (max(every) + 1.4)), top=104, left=170)
    return legend_line(fig)


def code_map(
    shared: Any | None, found: Any | None, modalities: Sequence[str] = (), notes: Sequence[str] = (), most: int = 300
) -> go.Figure:
    """Draw who uses a code and what it goes with, above each other; the places of both are the same codes.

    ``figure.layout.meta["codes"]`` lists the codes in that order. :func:`mark_code` marks one.

    Args:
        shared: :class:`srcid.codebook.usage.Sharing`, or None where there is one modality only.
        found: :class:`srcid.codebook.meaning.Association`, or None where there is no label.
        notes: what is missing, and why.
        most: largest number of codes drawn, the most used ones.
    """
    if shared is None and found is None:
        return empty_figure(sentences(notes) or "There are no codes to show.")
    whose = place_name(shared or found)
    titles = [f"{whose}: used by"] if shared is not None else []
    heights = [34 * len(shared.modalities)] if shared is not None else []
    if found is not None:
        titles.append(f"{_whose(found)}: '{found.label}'")
        heights.append(_CLASS * max(3, len(found.classes)))
    gap = 34
    total = sum(heights) + gap * (len(heights) - 1)
    fig = make_subplots(
        len(heights), 1, row_heights=heights, shared_xaxes=True, subplot_titles=titles,
        vertical_spacing=gap / total if len(heights) > 1 else 0,
    )  # fmt: skip
    panel_titles(fig)
    colors = modality_colors(modalities or (shared.modalities if shared is not None else ()))
    if shared is None:
        codes = found.codes[meaning_order(found, most)]
    else:
        codes = shared.codes[shared_first(shared, most)]
        add_sharing(fig, shared, colors, 1, 1, most)
    if found is not None:
        place = {int(code): row for row, code in enumerate(found.codes)}
        order = np.array([place.get(int(code), -1) for code in codes])
        add_association(fig, found, order, colors.get(found.modality, GENERAL), len(heights))
    fig.update_xaxes(range=[0.5, len(codes) + 0.5], showgrid=False)
    fig.update_xaxes(title_text="place of the code: the most shared first", row=len(heights))
    fig.update_yaxes(autorange="reversed", showgrid=False, ticks="", fixedrange=True)
    fig.update_layout(meta=dict(codes=[int(code) for code in codes]), clickmode="event", hovermode="closest")
    caption = "Click a column, or move the slider, to choose a code. " + sentences(notes)
    title = f"{whose.capitalize()}: {len(codes)} codes in use"
    return finish(fig, title, caption, height=total, top=70, left=110)


def mark_code(fig: go.Figure, code: int) -> None:
    """Mark a code in a figure or widget made by :func:`code_map`; a code that is not drawn takes the mark away."""
    codes = (fig.layout.meta or {}).get("codes", [])
    x = codes.index(code) + 1 if code in codes else None
    kept = [shape for shape in fig.layout.shapes if shape.name != "chosen"]
    mark = dict(
        type="rect", name="chosen", x0=(x or 0) - 0.5, x1=(x or 0) + 0.5, y0=0, y1=1, xref="x", yref="paper",
        line=dict(color=INK, width=2),
    )  # fmt: skip
    fig.layout.shapes = [*kept, *([mark] if x else [])]


def meaning_order(found: Any, most: int) -> np.ndarray:
    """Rows of the (at most ``most``, most used) codes of an Association: by best class, then the purest first."""
    kept = np.argsort(-found.total, kind="stable")[:most]
    return kept[np.lexsort((-found.low[kept], found.best[kept]))]


def add_association(fig: go.Figure, found: Any, order: np.ndarray, color: str, row: int) -> None:
    """Add the heat map class x code, dots where the class is surely more frequent; -1 in ``order`` stays blank."""
    share = found.counts / np.maximum(found.total[:, None], 1)
    share = np.where((order >= 0)[:, None] & (share[order] > 0), share[order], np.nan).T
    lift, p = found.lift[order].T, found.p_value[order].T
    names = [_short(name) for name in found.classes]
    places = np.arange(1, len(order) + 1)
    hover = [
        [
            "" if np.isnan(s) else f"code {c}, {name}: {s:.0%} of {n} steps<br>lift {v:.2g}, p = {q:.2g} (corrected)"
            for c, n, s, v, q in zip(found.codes[order], found.total[order], *rest, strict=True)
        ]
        for name, *rest in zip(names, share, lift, p, strict=True)
    ]  # fmt: skip
    fig.add_heatmap(
        z=blanks(share),
        x=places,
        y=np.arange(len(names)),
        zmin=0,
        zmax=1,
        colorscale=heat_scale(color, signed=False),
        showscale=False,
        hoverongaps=False,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        row=row,
        col=1,
    )
    y, x = np.nonzero((p <= _ALPHA) & (order >= 0))
    fig.add_scatter(
        x=places[x],
        y=y,
        mode="markers",
        hoverinfo="skip",
        showlegend=False,
        marker=dict(size=3, color="#000000", line=dict(color="#ffffff", width=0.5)),
        row=row,
        col=1,
    )
    fig.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        autorange="reversed",
        showgrid=False,
        zeroline=False,
        ticks="",
        row=row,
        col=1,
    )


def _purity(fig: go.Figure, found: Any, order: np.ndarray, color: str, row: int) -> None:
    x, purity = np.arange(1, len(order) + 1), found.purity[order]
    fields = ("codes", "best", "purity", "low", "high", "total", "clips")
    fig.add_scatter(
        x=x,
        y=purity,
        mode="markers",
        showlegend=False,
        marker=dict(size=4, color=color),
        error_y=whiskers(purity, found.low[order], found.high[order], color, 1),
        customdata=[
            f"code {c}: {found.classes[b]}, {q:.0%}{interval(lo, hi, '.0%')}<br>{n} clip-steps in {k} clips"
            for c, b, q, lo, hi, n, k in zip(
                *(getattr(found, field)[order] for field in fields), strict=True
            )
        ],
        hovertemplate="%{customdata}<extra></extra>",
        row=row,
        col=1,
    )  # fmt: skip
    fig.add_hline(y=found.majority, line=dict(color=INK, width=1, dash="dot"), row=row, col=1)
    fig.update_yaxes(range=[0, 1.03], tickformat=".0%", dtick=0.5, title_text="purity", row=row, col=1)


def _whose(found: Any) -> str:
    return f"{place_name(found)}, {found.modality}"


def _short(name: str, letters: int = 16) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
