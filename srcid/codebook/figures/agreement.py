"""Whether modalities agree, and two codebooks: shares of equal codes against chance, and which codes meet which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import (
    add_map,
    dots,
    findings,
    legend_entry,
    name_rows,
    name_upwards,
    nothing,
    panels,
    place_of,
    room_for,
    sentences,
    side_by_side,
)
from srcid.statistics import t_interval
from srcid.style import GENERAL, INK, OKABE_ITO, empty_figure, finish, legend_line, modality_colors, swatch
from srcid.symbols import place_name

_ROW = 17  # pixels of a row of dots
_LAYERS = (GENERAL, *OKABE_ITO[2:4])  # colours of layers where nothing else has one
_LOOKS = {"all": "circle", "event": "square", "background": "diamond"}
# title, axis, format and field of each measure, and what chance gives
_MEASURES = (
    ("same code", "share of steps", ".0%", "match", lambda pair: pair.chance),
    ("NMI", "0 to 1", ".3f", "nmi", lambda pair: pair.nmi_chance),
    ("AMI", "0 chance, 1 equal", ".3f", "ami", lambda pair: 0.0),
    ("usage distance", "0 equal, 1 disjoint", ".3f", "distance", None),
)
_SIDE = 300  # pixels of a panel
_MATCHED = 100  # codes a side in a map of matched codes, at most; matched ones come first


def agreement_figure(agreements: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = ()) -> go.Figure:
    """Draw how far the modalities agree, for each pair at all steps, at events, and on background.

    Args:
        agreements: :class:`srcid.codebook.agreement.Agreement` of the layers.
        modalities: in the order of the store, which fixes their colours.
        notes: why there are none; shown in their place.
    """
    pairs = [pair for a in agreements for pair in a.pairs]
    notes = [*notes, *(note for a in agreements for note in a.notes)]
    if not pairs:
        return nothing(notes, "There is no pair.")
    colors = _colors(modalities, pairs)
    rows, ticks = _rows([(place_name(a.layer, a.stage), p) for a in agreements for p in a.pairs], colors)
    fig = side_by_side([m[0] for m in _MEASURES], shared_yaxes=True, horizontal_spacing=0.035)
    for col, (_, axis, form, field, chance) in enumerate(_MEASURES, start=1):
        values = [getattr(p, field) for p in pairs]
        for where, symbol in _LOOKS.items():
            drawn = [(y, p) for y, p in zip(rows, pairs, strict=True) if p.where == where]
            if not drawn:
                continue
            hover = [
                f"{p.first} – {p.second}, {where}: {getattr(p, field).text(form)}"
                + (f"<br>by chance {chance(p):{form}}" if chance else "")
                + f"<br>{p.steps:,} clip-steps"
                for _, p in drawn
            ]
            dots(fig, [getattr(p, field) for _, p in drawn], [y for y, _ in drawn], INK, hover, col=col,
                 name=f"{where} steps", legendgroup=where, showlegend=col == 1, marker=dict(symbol=symbol))  # fmt: skip
        fig.add_scatter(
            x=[chance(p) if chance else None for p in pairs], y=rows, mode="markers", name="by chance",
            legendgroup="chance", showlegend=col == 1, hoverinfo="skip", row=1, col=col,
            marker=dict(symbol="line-ns-open", size=11, color=INK, line_width=1.2),
        )  # fmt: skip
        ends = [end for v in values for end in (v.value, v.low, v.high)]
        least, most = np.nanmin([*ends, 0.0]), np.nanmax([*ends, 0.05])
        room = 0.04 * (most - least)
        fig.update_xaxes(tickformat=form if form.endswith("%") else "", range=[least - room, most + room], nticks=5,
                         zeroline=False, title_text=axis, row=1, col=col)  # fmt: skip
    name_rows(fig, ticks, max(rows))
    caption = (
        f"95 % intervals: same code from {agreements[0].params['bootstrap']} resamples of clips, the others from "
        "leaving out twentieths of the clips. NMI: normalised mutual information; AMI: the same less what random "
        "pairing gives; neither minds if one modality's codes are renamed. Usage distance: Jensen–Shannon distance of "
        f"how often each code is used. {sentences(notes)}"
    )
    said = f"Steps at which two modalities have the same code: {findings([a for a in agreements if a.pairs])}"
    finish(fig, said, caption, height=int(_ROW * (max(rows) + 1.4)), top=104, left=150)
    return legend_line(fig)


def part_figure(parts: Any, source: str = "") -> go.Figure:
    """Draw how far the modalities agree in each part of a code: a row a method, a numbered mark a stage or layer.

    Args:
        parts: frame of :func:`srcid.codebook.agreement.part_agreement` records of many runs, with a column ``method``.
        source: which runs, for the caption.
    """
    if not len(parts):
        return empty_figure("No run has codes of two modalities: there is nothing to agree.")
    places = [where for where in ("event", "background") if where in set(parts["where"])] or ["all"]
    methods = list(dict.fromkeys(parts["method"]))
    fig = side_by_side([f"{w} steps" for w in places], shared_yaxes=True, horizontal_spacing=0.03)
    found = {
        key: (t_interval(part["kappa"].to_numpy(float)), part)
        for key, part in parts.groupby(["where", "method", "layer", "stage"], sort=False)
    }
    for (where, method, layer, stage), (kappa, part) in found.items():
        if where not in places:
            continue
        keys = sorted({key[2:] for key in found if key[1] == method})
        offset = 0.26 * ((len(keys) - 1) / 2 - keys.index((layer, stage)))
        look = _layer_look(layer)
        hover = (
            f"{method}, layer {layer}, stage {stage}: κ {kappa.text('.3f')}<br>same code at {part['match'].mean():.1%} "
            f"of steps, {part['chance'].mean():.1%} by chance; {len(part)} runs"
        )
        y = len(methods) - 1 - methods.index(method) + offset
        dots(fig, [kappa], [y], look["color"], [hover], places.index(where) + 1, mode="markers+text", text=[str(stage)],
             textfont=dict(size=10, color="white"), marker=dict(size=15, **look))  # fmt: skip
    for layer in sorted(set(parts["layer"])):
        legend_entry(fig, f"layer {layer}", marker=dict(size=13, **_layer_look(layer)))
    ends = [max(k.value, min(k.high, 1.5 * k.value)) if k.known else k.value for k, _ in found.values()]
    fig.update_xaxes(title_text="Cohen's κ (0: chance, 1: always the same code)", zeroline=True, zerolinecolor=INK,
                     zerolinewidth=1, range=[-0.04, 1.08 * max(0.2, *ends)])  # fmt: skip
    name_upwards(fig, methods)
    groups: dict[str, list[float]] = {"layer 1": [], "its later stages": [], "later layers": []}
    for (where, _, layer, stage), (kappa, _) in found.items():
        name = "layer 1" if (layer, stage) == (1, 1) else "its later stages" if layer == 1 else "later layers"
        if where == places[0] and (layer == 1 or stage == 1):
            groups[name].append(kappa.value)
    ranges = [f"{name} {_span(values)}" for name, values in groups.items() if values]
    caption = (
        "Numbers: stages of a residual quantiser, each compared by itself. Mean over pairs of "
        "modalities and over training seeds, test clips. Bars: 95 % t-intervals over training seeds. "
    )
    finish(fig, f"Agreement of modalities at {places[0]} steps, κ, means of methods: {', '.join(ranges)}",
           caption + source, height=52 * len(methods) + 30, top=112, left=room_for(methods))  # fmt: skip
    return legend_line(fig)


def confusion_map(
    confusions: Sequence[Any], modalities: Sequence[str] = (), notes: Sequence[str] = (), most: int = 60
) -> go.Figure:
    """Draw which code of one modality meets which of another, one square a pair of modalities.

    Args:
        confusions: :class:`srcid.codebook.agreement.Confusion` of pairs of modalities, of one or more layers.
        modalities: in the order of the store, which fixes their colours.
        most: largest number of codes a side, the most used first.
    """
    if not confusions:
        return nothing(notes, "There is no pair of modalities to compare.")
    colors = _colors(modalities, confusions)
    columns = min(3, len(confusions))
    titles = [f"{place_name(c.layer, c.stage)}: {c.first} – {c.second}" for c in confusions]
    fig, height = panels(titles, columns, 240 if columns == 3 else 330, horizontal_spacing=0.09)
    covered, biggest = [], 0
    for number, c in enumerate(confusions):
        here = place_of(number, columns)
        shown = _meetings(fig, c.counts, (c.first, c.second), (c.codes, c.codes), most, here)
        covered.append(shown.sum() / max(c.steps, 1))
        biggest = max(biggest, len(shown))
        title = "place of the code of {}"
        fig.update_xaxes(title_text=title.format(swatch(c.second, colors[c.second])), constrain="domain", **here)
        fig.update_yaxes(title_text=title.format(swatch(c.first, colors[c.first])), constrain="domain", tickvals=None,
                         ticktext=None, **here)  # fmt: skip
    caption = (
        "Codes in the order of how often both modalities use them, the same order on both sides: equal codes lie on "
        f"the diagonal, and a strong cell off it is one meaning with two names. The {biggest} codes used most; they "
        f"hold {' to '.join(dict.fromkeys(f'{part:.0%}' for part in (min(covered), max(covered))))} of the steps. "
        "Shade: square root of the share of all steps of the row, drawn or not."
    )
    ranked = sorted(confusions, key=lambda c: c.match.value)
    ends = [ranked[0], ranked[-1]]
    said = f"Steps with equal codes, from least to most: {findings(ends)}"
    return finish(fig, said, caption, height=height, top=74, left=70)


def _colors(modalities: Sequence[str], pairs: Sequence[Any]) -> dict[str, str]:
    """Colours of the modalities, or else of those that the pairs name."""
    return modality_colors(tuple(modalities) or tuple(dict.fromkeys(m for p in pairs for m in (p.first, p.second))))


def _rows(pairs: Sequence[tuple[str, Any]], colors: Mapping[str, str]) -> tuple[list[float], dict[float, str]]:
    """Height of every dot, and the labels: a group of rows for each pair of modalities, a gap between layers."""
    rows, ticks, y, layer = [], {}, 0.0, None
    for (name, first, second), group in groupby(pairs, key=lambda p: (p[0], p[1].first, p[1].second)):
        count = len(list(group))
        y += 0.0 if layer is None else 0.7 if layer == name else 1.4
        pair = f"{swatch(first, colors[first])} – {swatch(second, colors[second])}"
        ticks[y + (count - 1) / 2] = f"{name if layer != name else ''}  {pair}"
        rows += [y + i for i in range(count)]
        y, layer = y + count, name
    return rows, ticks


def _layer_look(layer: int) -> dict[str, str]:
    return dict(color=_LAYERS[(layer - 1) % len(_LAYERS)], symbol="circle" if layer == 1 else "square")


def _span(values: Sequence[float]) -> str:
    low, high = (round(value, 2) + 0.0 for value in (min(values), max(values)))  # no negative zero
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def matching_figure(matchings: Sequence[Any], notes: Sequence[str] = ()) -> go.Figure:
    """Draw matched codes, a row of two panels a layer: the map of meetings, and the share of each code its partner has.

    Args:
        matchings: :class:`srcid.codebook.matching.Matching` of the layers.
        notes: why there are none; shown in their place.
    """
    if not matchings:
        return nothing(notes, "There is no second run or epoch to compare with.")
    first, second = matchings[0].names
    titles = [f"{place_name(m.layer)}: {what}" for m in matchings for what in ("who meets whom", "share of the code")]
    fig, height = panels(titles, 2, _SIDE, horizontal_spacing=0.12)
    for row, m in enumerate(matchings, start=1):
        here = dict(row=row, col=1)
        _meetings(fig, m.counts, m.names, m.order, _MATCHED, here)
        fig.update_xaxes(title_text=f"codes of {second}", showticklabels=False, ticks="", **here)
        fig.update_yaxes(title_text=f"codes of {first}", showticklabels=False, ticks="", **here)
        place = np.arange(1, len(m.matches) + 1)
        for side, color, symbol, name in (
            ("of_first", INK, "circle", first),
            ("of_second", GENERAL, "diamond", second),
        ):
            fig.add_scatter(
                x=place, y=[getattr(match, side) for match in m.matches], mode="markers", name=f"of {name}'s code",
                marker=dict(color=color, symbol=symbol, size=6), legendgroup=side, showlegend=row == 1, row=row, col=2,
                customdata=[_told(match, m) for match in m.matches], hovertemplate="%{customdata}<extra></extra>",
            )  # fmt: skip
        changed = [(x, match) for x, match in zip(place, m.matches, strict=True) if match.changed]
        fig.add_scatter(
            x=[x for x, _ in changed], y=[1.04] * len(changed), mode="markers", name="another majority class",
            marker=dict(color=INK, symbol="x", size=8), legendgroup="changed", showlegend=row == 1, row=row, col=2,
            customdata=[_told(match, m) for _, match in changed], hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
        fig.update_yaxes(range=[0, 1.09], tickformat=".0%", title_text="share of steps", row=row, col=2)
        whole = dict(dtick=1) if len(m.matches) < 8 else {}
        fig.update_xaxes(title_text="pair of codes, the most frequent first", showgrid=False, row=row, col=2, **whole)
    caption = (
        "Codes are matched one to one so that most steps have matched codes; left, matched codes lie on the diagonal, "
        "shade is the square root of the share of the row. The matched share counts clips that took no part in "
        "matching; brackets: 95 % interval from resampled clips; chance: clips of one side shuffled. Another class: "
        "both intervals lie above a half. Without a partner: codes that meet theirs "
        f"no more often than chance makes them. {sentences([*notes, *(n for m in matchings for n in m.notes)])}"
    )
    said = f"{first[:1].upper()}{first[1:]} and {second}: {'; '.join(m.summary for m in matchings)}"
    finish(fig, said, caption, height=height, top=110, left=70)
    return legend_line(fig)


def _meetings(fig: go.Figure, counts: np.ndarray, names: Sequence[str], codes: Sequence[np.ndarray], most: int,
              here: dict[str, int]) -> np.ndarray:  # fmt: skip
    """Draw how often codes of two sides meet, at most so many of each, and return what is drawn of ``counts``."""
    shown = counts[:most, :most]
    share = shown / np.maximum(counts[:most].sum(axis=1, keepdims=True), 1)
    hover = np.array([
        [f"{names[0]} {a}, {names[1]} {b}: {n:,} steps<br>{s:.0%} of the row"
         for b, n, s in zip(codes[1][:most], *row, strict=True)]
        for a, *row in zip(codes[0][:most], shown, share, strict=True)
    ])  # fmt: skip
    # by the square root, as else a share of a few percent cannot be seen
    add_map(fig, [(np.where(shown > 0, np.sqrt(share), np.nan), INK)], [""] * len(shown), hover, **here)
    fig.update_xaxes(range=[0.5, shown.shape[1] + 0.5], showgrid=False, **here)
    fig.update_yaxes(range=[shown.shape[0] + 0.5, 0.5], showgrid=False, autorange=None, **here)
    return shown


def _told(match: Any, m: Any) -> str:
    first, second = m.names
    said = f"{first} {match.first} – {second} {match.second}: {match.together:,} steps together<br>"
    said += f"{match.of_first:.0%} of the one, {match.of_second:.0%} of the other"
    if match.purity is None:
        return said
    classes = [f"{name} {p.text('.0%')}" for name, p in zip(match.classes, match.purity, strict=True)]
    return f"{said}<br>{m.label}: {classes[0]} – {classes[1]}"
