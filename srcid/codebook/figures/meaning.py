"""What codes mean: which classes go with which codes, and what a later layer adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import (
    DOTTED,
    add_map,
    dots,
    legend_entry,
    name_rows,
    nothing,
    outlined,
    sentences,
    side_by_side,
    stack,
    title,
    whiskers,
)
from srcid.codebook.figures.usage import STRIP, add_sharing, shared_first
from srcid.statistics import ALPHA, Interval
from srcid.style import GENERAL, INK, finish, legend_line, modality_colors, swatch
from srcid.symbols import place_name

_CLASS = 17  # pixels of a row of classes
_LETTERS = 16  # of the name of a class
_DRAWN = 120  # codes of a map of associations, at most; the most used ones


def association_map(
    associations: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = ()
) -> go.Figure:
    """Draw codes against classes, and above them how pure every code is, with its interval.

    Args:
        associations: :class:`srcid.codebook.meaning.Association`, for instance one a layer.
        modalities: in the order of the store, which fixes their colours.
        notes: why there are none; shown in their place.
    """
    if not associations:
        return nothing(notes, "There is no label to associate codes with.")
    titles = [f"{_whose(a)}: {what}" for a in associations for what in ("purity of a code", f"'{a.label}'")]
    heights = [h for a in associations for h in (96, _CLASS * max(3, len(a.classes)))]
    fig, total = stack(heights, titles, gap=58)
    colors = modality_colors(modalities)
    for number, found in enumerate(associations):
        color = colors.get(found.modality, GENERAL)
        order = meaning_order(found, _DRAWN)
        _purity(fig, found, order, color, 2 * number + 1)
        add_association(fig, found, order, color, 2 * number + 2)
        for row in (2 * number + 1, 2 * number + 2):
            fig.update_xaxes(range=[0.5, len(order) + 0.5], showgrid=False, row=row, col=1)
    fig.update_xaxes(title_text="place of the code: by the class it goes with most, the purest first", row=len(heights))
    drawn = f" Drawn: the {_DRAWN} codes used most." if any(len(f.codes) > _DRAWN for f in associations) else ""
    caption = (
        "Purity: share of a code's steps that hold its most frequent class; bars: 95 % Wilson intervals that count "
        "clips, not steps; dotted: what a single code would have. Shade: share of the code's steps that hold the "
        f"class. Dots: the class is more frequent with the code than with any (p < {ALPHA}, corrected for all codes "
        "and classes by Benjamini and Hochberg). Steps whose label is unknown are left out. "
        f"{sentences([*notes, *(n for f in associations for n in f.notes)])}{drawn}"
    )
    return finish(fig, title(associations), caption, height=total, top=84, left=110)


def added_information_figure(
    found: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = ()
) -> go.Figure:
    """Draw what earlier codes say of each known factor, and what a later layer adds, in bits a step.

    Args:
        found: :class:`srcid.codebook.added_information.AddedInformation`, of some labels and modalities.
        modalities: in the order of the store, which fixes their colours.
        notes: why there are none; shown in their place.
    """
    if not found:
        return nothing(notes, "There is no later layer to add something, or no label to ask about.")
    layers = sorted({a.layer for a in found})
    one = len(layers) == 1
    given = "layer " + " and ".join(map(str, found[0].given)) if one else "earlier layers"
    later = f"layer {layers[0]}" if one else "the later layer"
    about = [a.label if one else f"layer {a.layer}, {a.label}" for a in found]
    labels, whose = list(dict.fromkeys(about)), list(dict.fromkeys(a.modality for a in found))
    place = {(n, m): i * (len(whose) + 0.8) + j for i, n in enumerate(labels) for j, m in enumerate(whose)}
    colors = {m: modality_colors(modalities).get(m, INK) for m in whose}
    most = 1.25 * max(0.05, *(a.information.high for a in found))
    fig = side_by_side([f"known from {given}", f"added by {later}"], shared_yaxes=True, horizontal_spacing=0.05)
    for m in whose:
        part = [(place[name, m], a) for name, a in zip(about, found, strict=True) if a.modality == m]
        y = [row for row, _ in part]
        hover = [
            f"{a.label}, {m}<br>I(label; {given}) = {a.given_information:.3f} bits<br>"
            f"I(label; layer {a.layer} | {given}) = {a.information.text('.3f')} bits, "
            f"p = {a.p_value:.2g}<br>left to say: {a.remaining:.3f} bits; {a.clips:,} clips"
            + "".join(f"<br>{note}" for note in a.notes)
            for _, a in part
        ]
        fig.add_bar(
            x=[a.given_information for _, a in part], y=y, orientation="h", width=0.7, row=1, col=1, showlegend=False,
            marker=dict(color=colors[m], line_width=0), customdata=hover, hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
        symbols = ["circle" if a.p_value < ALPHA else "circle-open" for _, a in part]
        dots(fig, [a.information for _, a in part], y, colors[m], hover, col=2,
             marker=outlined(colors[m], symbol=symbols))  # fmt: skip
        fig.add_scatter(
            x=[most] * len(part), y=y, mode="text", text=[f"of {a.remaining:.2f}" for _, a in part], hoverinfo="skip",
            textposition="middle left", textfont=dict(size=11, color=INK), showlegend=False, row=1, col=2,
        )  # fmt: skip
    for name, symbol in ((f"added, p < {ALPHA}", "circle"), (f"p ≥ {ALPHA}", "circle-open")):
        legend_entry(fig, name, marker=outlined(INK, symbol=symbol))
    name_rows(fig, {y: f"{f'{n} · ' if m == whose[0] else ''}{swatch(m, colors[m])}" for (n, m), y in place.items()},
              max(place.values()))  # fmt: skip
    fig.update_xaxes(title_text="bits a step", rangemode="tozero", zeroline=False)
    fig.update_xaxes(range=[-0.02 * most, most], col=2)
    told = Counter(note for a in found for note in a.notes).items()
    caption = (
        f"I(label; {later} | {given}), less what {found[0].params['permutations']} permutations of clips give (a "
        "plug-in value is far too high where two layers' codes meet in many ways); bars reach from one correction to "
        "the other and 1.96 jackknife errors beyond. On the right: bits that were left to say, "
        f"H(label | {given}). {sentences([*notes, *(f'{note} ({n} of {len(found)} rows)' for note, n in told)])}"
    )
    together = [a for a in found if colors[a.modality] == INK] or list(found)
    said = ", ".join(
        f"{name} {a.information.text('.2f')}" for name, a in zip(about, found, strict=True) if a in together
    )
    finish(fig, f"{later.capitalize()} adds, in bits a step: {said} ({found[0].sample})", caption,
           height=int(19 * (max(place.values()) + 1.4)), top=104, left=170)  # fmt: skip
    return legend_line(fig)


def code_map(
    shared: Any | None, found: Any | None, modalities: Sequence[str] = (), notes: Sequence[str] = (), most: int = 300
) -> go.Figure:
    """Draw who uses a code and what it goes with, above each other; the places of both are the same codes.

    Every cell answers to hovering and clicks. ``figure.layout.meta["codes"]`` lists the codes in their order.
    :func:`mark_code` marks one.

    Args:
        shared: :class:`srcid.codebook.usage.Sharing`, or None where there is one modality only.
        found: :class:`srcid.codebook.meaning.Association`, or None where there is no label.
        notes: what is missing, and why.
        most: largest number of codes drawn, the most used ones.
    """
    if shared is None and found is None:
        return nothing(notes)
    result = found if shared is None else shared
    whose = place_name(result.layer, result.stage)
    titles = [f"{whose}: used by"] if shared is not None else []
    heights = [34 * len(shared.modalities)] if shared is not None else []
    if found is not None:
        titles.append(f"{_whose(found)}: '{found.label}'")
        heights.append(_CLASS * max(3, len(found.classes)))
    fig, total = stack(heights, titles, gap=34, shared_xaxes=True)
    colors = modality_colors(modalities or (shared.modalities if shared is not None else ()))
    if shared is None:
        codes = found.codes[meaning_order(found, most)]
    else:
        codes = shared.codes[shared_first(shared, most)]
        add_sharing(fig, shared, colors, 1, most)
    if found is not None:
        place = {int(code): row for row, code in enumerate(found.codes)}
        order = np.array([place.get(int(code), -1) for code in codes])
        add_association(fig, found, order, colors.get(found.modality, GENERAL), len(heights))
    fig.update_xaxes(range=[0.5, len(codes) + 0.5], showgrid=False)
    fig.update_xaxes(title_text="place of the code: the most shared first", row=len(heights))
    fig.update_yaxes(fixedrange=True)
    fig.update_layout(meta=dict(codes=[int(code) for code in codes]), clickmode="event", hovermode="closest")
    caption = f"Click a column, or move the slider, to choose a code. {STRIP if shared else ''} {sentences(notes)}"
    said = f"{whose.capitalize()} ({result.sample}): {len(codes)} codes in use"
    return finish(fig, said, caption, height=total, top=70, left=110)


def mark_code(fig: go.Figure, code: int) -> None:
    """Mark a code in a figure or widget made by :func:`code_map`; a code that is not drawn takes the mark away."""
    codes = (fig.layout.meta or {}).get("codes", [])
    x = codes.index(code) + 1 if code in codes else None
    kept = [shape for shape in fig.layout.shapes if shape.name != "marked"]
    mark = dict(type="rect", name="marked", x0=(x or 0) - 0.5, x1=(x or 0) + 0.5, y0=0, y1=1, xref="x", yref="paper",
                line=dict(color=INK, width=2))  # fmt: skip
    fig.layout.shapes = [*kept, *([mark] if x else [])]


def meaning_order(found: Any, most: int) -> np.ndarray:
    """Rows of the (at most ``most``, most used) codes of an Association: by best class, then the purest first."""
    kept = np.argsort(-found.total, kind="stable")[:most]
    return kept[np.lexsort((-found.low[kept], found.best[kept]))]


def add_association(fig: go.Figure, found: Any, order: np.ndarray, color: str, row: int) -> None:
    """Add the heat map class x code, dots where the class is more frequent (p < 0.05); -1 in ``order`` stays blank."""
    share = found.counts / np.maximum(found.total[:, None], 1)
    share, lift, p = share[order].T, found.lift[order].T, found.p_value[order].T
    names = [_short(name) for name in found.classes]
    hover = np.array([
        [
            f"no '{found.label}' known of this code" if place < 0 else
            f"code {found.codes[place]}, {name}: {s:.0%} of {found.total[place]:,} steps<br>lift {v:.2g}, p = {q:.2g} "
            "(corrected)"
            for place, s, v, q in zip(order, *rest, strict=True)
        ]
        for name, *rest in zip(found.classes, share, lift, p, strict=True)
    ])  # fmt: skip
    add_map(fig, [(np.where((order >= 0) & (share > 0), share, np.nan), color)], names, hover, row, 1)
    y, x = np.nonzero((p <= ALPHA) & (order >= 0))
    fig.add_scatter(x=x + 1, y=y + 1, mode="markers", hoverinfo="skip", showlegend=False, row=row, col=1,
                    marker=dict(size=3, color="#000000", line=dict(color="#ffffff", width=0.5)))  # fmt: skip


def _purity(fig: go.Figure, found: Any, order: np.ndarray, color: str, row: int) -> None:
    intervals = [Interval(*(float(side[i]) for side in (found.purity, found.low, found.high))) for i in order]
    hover = [
        f"code {found.codes[i]}: {found.classes[found.best[i]]}, {purity.text('.0%')}<br>"
        f"{found.total[i]:,} clip-steps in {found.clips[i]:,} clips"
        for i, purity in zip(order, intervals, strict=True)
    ]
    fig.add_scatter(
        x=np.arange(1, len(order) + 1), y=[i.value for i in intervals], mode="markers", showlegend=False, row=row,
        col=1, marker=dict(size=4, color=color), error_y=whiskers(intervals, color, 1), customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    fig.add_hline(y=found.majority, line=DOTTED, row=row, col=1)
    fig.update_yaxes(range=[0, 1.03], tickformat=".0%", dtick=0.5, title_text="purity", row=row, col=1)


def _whose(found: Any) -> str:
    return f"{place_name(found.layer, found.stage)}, {found.modality}"


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
