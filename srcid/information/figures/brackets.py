"""Mutual information in figures: during training, as brackets, and one estimate in full; and what probes leak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import DOTTED, name_rows, panels, side_by_side
from srcid.information.figures.estimators import (
    MEANING,
    SYMBOLS,
    add_interval,
    add_legend,
    nats_ticks,
    pair_color,
    squash,
)
from srcid.style import (
    FAINT,
    GENERAL,
    INK,
    OKABE_ITO,
    SPECIFIC,
    empty_figure,
    finish,
    legend_line,
    modality_colors,
    swatch,
)
from srcid.training.figures import opening, openings, series

if TYPE_CHECKING:
    from srcid.information.bracket import Bracket
    from srcid.information.disentanglement import Measurements
    from srcid.information.leakage import Leaks

_ROW = 30  # pixels
_LEAST = -1.0  # nats; an upper bound below is void, and drawn there
_CURVES = {"mi": "CLUB's estimate", "val/skill": "skill of its q", "val/rate": "rate of s: certified bound"}
_PROBE = 26  # pixels
# of an estimate's fit, in words
_DETAIL = {
    "skill": "skill of q",
    "residual": "error of q over its variance",
    "saturated": "share of saturated log-variances",
    "linear": "share of seeds whose q is linear",
    "explained_x": "share of x's variance that is counted",
    "explained_y": "share of y's variance that is counted",
}
_HALVES = {"general": (GENERAL, "circle", 0.16), "specific": (SPECIFIC, "square", -0.16)}


def training_information(
    metrics: Sequence[Mapping[str, Any]], modalities: Sequence[str], layers: int, caption: str = ""
) -> go.Figure:
    """Draw what training saw of I(z; s), a column a layer: CLUB's estimate, the skill of its q, and the rate of s.

    Args:
        metrics: lines of ``metrics.jsonl``.
        modalities, layers: of the run in the store's order, for colours and panels.
    """
    lines = {(q, k, m): series(metrics, f"{q}/{k}/{m}") for q in _CURVES for k in range(1, layers + 1)
             for m in modalities}  # fmt: skip
    rows = [q for q in _CURVES if any(lines[q, k, m][0] for k in range(1, layers + 1) for m in modalities)]
    if not rows:
        return empty_figure("Training wrote down no mutual information: CLUB and the rate of s were off in all layers")
    colors = modality_colors(modalities)
    titles = [f"layer {k}: {_CURVES[q]}" for q in rows for k in range(1, layers + 1)]
    fig, height = panels(titles, layers, 110, 46, shared_xaxes=True, shared_yaxes="rows", horizontal_spacing=0.05)
    for row, q in enumerate(rows, start=1):
        values = [v for (quantity, _, _), (_, y) in lines.items() if quantity == q for v in y]
        for k in range(1, layers + 1):
            for m in modalities:
                x, y = lines[q, k, m]
                fig.add_scatter(
                    x=x, y=squash(y), customdata=y, name=m, legendgroup=m, mode="lines", row=row, col=k,
                    showlegend=row == k == 1, line=dict(color=colors[m], width=1.6),
                    hovertemplate="step %{x:.0f}: %{customdata:.3g} nats<extra>" + m + "</extra>",
                )  # fmt: skip
            for step in openings(metrics).values():
                fig.add_vline(x=step, line=DOTTED, row=row, col=k)
        fig.update_yaxes(**nats_ticks(min(0, *values), 1.3 * max(1, *values)), row=row)
        fig.update_yaxes(title_text="nats", row=row, col=1)
    fig.update_xaxes(title_text="step", row=len(rows))
    parts = []
    for k in range(1, layers + 1):
        ends = []
        for q, words in (("mi", "CLUB ends at"), ("val/rate", "the rate at")):
            last = [lines[q, k, m][1][-1] for m in modalities if lines[q, k, m][1]]
            span = " to ".join(dict.fromkeys(f"{end:.2g}" for end in (min(last), max(last)))) if last else ""
            ends += [f"{words} {span}"] if last else []
        parts += [f"{'layer' if parts else 'Layer'} {k}: {', '.join(ends)} nats"] if ends else []
    title = "; ".join([*parts, *(opening(metrics, layer, step) for layer, step in openings(metrics).items())])
    note = (
        "Upright dotted line: the next layer opens. CLUB's estimate is what the loss minimises; it means nothing where "
        f"the skill of its q is below 0. The rate bounds any I(z; s) whatever is fitted. {caption}"
    )
    return legend_line(finish(fig, title, note, height=height, top=96))


def bracket_figure(measurements: Measurements, modalities: Sequence[str]) -> go.Figure:
    """Draw each pair's bracket: a point and interval an estimator, permuted clips shaded, a bar what is certified.

    Args:
        modalities: of the run in the store's order, for colours; pairs of two modalities are grey.
    """
    missing = "".join(f"{pair}: not measured, {why}. " for pair, why in measurements.missing.items())
    if not measurements.brackets:
        return empty_figure(f"No mutual information to show: {missing or 'no pair was asked for'}")
    colors, pairs = modality_colors(modalities), list(measurements.brackets)
    # a free row between layers
    place = np.arange(len(pairs)) + 0.5 * np.cumsum([0, *(a.layer != b.layer for a, b in pairwise(pairs))])
    fig, ends, shown = go.Figure(), [0.0, 1.0], {}
    for y, (pair, found) in zip(place, measurements.brackets.items(), strict=True):
        null = [value for e in found.estimates.values() for value in e.null if np.isfinite(value)]
        if null:
            x0, x1 = squash([min(*null, -0.02), max(*null, 0.02)])
            fig.add_shape(type="rect", x0=x0, x1=x1, y0=y - 0.42, y1=y + 0.42, fillcolor=FAINT, line_width=0,
                          layer="below")  # fmt: skip
        for number, e in enumerate(found.estimates.values()):
            at = y + 0.6 * ((number + 0.5) / len(found.estimates) - 0.5)
            ends += [end for end in e.interval.ends if np.isfinite(end)]
            open_ = "-open" if e.unreliable or (found.contradiction and e.kind == "upper") else ""
            reasons = "\n".join([e.unreliable, found.contradiction, *e.flags])
            hover = f"<b>{pair}</b>\n{e.name} ({MEANING[e.kind]}): {e.text} nats\n{reasons}"
            add_interval(fig, e.interval, at, pair_color(pair, colors), SYMBOLS[e.name] + open_, hover, least=_LEAST)
            shown[f"{e.name} ({MEANING[e.kind]})"] = SYMBOLS[e.name]
        if found.certified:
            ends.append(found.certified.nats)
            fig.add_scatter(
                x=squash([found.certified.nats] * 2), y=[y - 0.4, y + 0.4], mode="lines", showlegend=False,
                line=dict(color=INK, width=3), hovertemplate=f"certified: at most {found.certified}<extra></extra>",
            )  # fmt: skip
            shown["certified upper bound"] = "line-ns-open"
    low, high = max(min(ends), _LEAST), 1.4 * max(ends)
    fig.update_xaxes(
        title_text="mutual information, nats a step", range=[squash(low) - 0.2, squash(high)], zeroline=True,
        zerolinecolor=INK, **nats_ticks(low, high),
    )  # fmt: skip
    marks = [swatch(p, pair_color(p, colors)) + " ⚠" * bool(b.contradiction) for p, b in measurements.brackets.items()]
    name_rows(fig, dict(zip(place.tolist(), marks, strict=True)), place[-1])
    source = f"{measurements.source}, " if measurements.source else ""
    note = (
        f"{source}{measurements.sample}; intervals: 95 % over resampled clips and {measurements.settings.seeds} seeds; "
        "shaded: the same on permuted clips. Open: unreliable (outside the calibrated range, or contradicted). "
        "⚠: the bounds contradict each other. Uncertified upper bounds hold as far as their q is right. "
    )
    finish(fig, measurements.finding, note + missing, height=int(_ROW * (place[-1] + 1.4)) + 20,
           top=110 if len(shown) > 3 else 92, left=190)  # fmt: skip
    entries = dict(sorted(shown.items(), key=lambda item: [*SYMBOLS.values(), item[1]].index(item[1])))
    return add_legend(fig, entries, 185)


def estimate_card(pair: Any, found: Bracket, name: str, color: str = INK) -> go.Figure:
    """Draw one estimate in full: its seeds and interval beside the permuted clips, and how its network was fitted."""
    e = found.estimates[name]
    titles = ["value", "fit of its network, by seed"]
    fig = side_by_side(titles, column_widths=[0.42, 0.58], horizontal_spacing=0.12)
    for y, (label, values) in enumerate({"seeds": e.by_seed, "permuted": e.null}.items()):
        fig.add_scatter(
            x=squash(values), y=[y] * len(values), customdata=values, mode="markers", name=label, showlegend=False,
            row=1, col=1, marker=dict(size=9, color=(color, INK)[y], symbol=SYMBOLS[name]),
            hovertemplate="%{customdata:.3f} nats<extra>" + label + "</extra>",
        )  # fmt: skip
    add_interval(fig, e.interval, -0.25, color, SYMBOLS[name], f"{e}", row=1, col=1)
    for seed, curve in enumerate(e.curves):
        steps, *parts = zip(*curve, strict=True)
        for values, dash, label in zip(parts, ("dot", "solid"), ("fitting clips", "stopping clips"), strict=True):
            fig.add_scatter(
                x=steps, y=values, mode="lines", name=label, row=1, col=2, showlegend=False,
                line=dict(color=OKABE_ITO[seed % len(OKABE_ITO)], dash=dash, width=1.6),
                hovertemplate="step %{x}: %{y:.3f}<extra>" + f"{label}, seed {seed}</extra>",
            )  # fmt: skip
    if not e.curves:
        fig.add_annotation(text="nothing is trained for this estimate", showarrow=False, xref="x2 domain",
                           yref="y2 domain", x=0.5, y=0.5)  # fmt: skip
    ends = [v for v in (0.0, *e.interval.ends, *e.by_seed, *e.null) if np.isfinite(v)]
    fig.update_xaxes(title_text="nats a step", **nats_ticks(min(ends), max(ends)), row=1, col=1)
    fig.update_yaxes(tickvals=[0, 1], ticktext=["seeds", "permuted clips"], range=[1.6, -0.6], row=1, col=1)
    fig.update_xaxes(title_text="step of the fit", row=1, col=2)
    fig.update_yaxes(title_text="log-likelihood or bound", row=1, col=2)
    detail = ", ".join(f"{_DETAIL.get(key, key)} {value:.2f}" for key, value in e.detail.items())
    detail = f"{detail[0].upper()}{detail[1:]}. " if detail else ""
    against = [e.unreliable, found.contradiction, *e.flags]
    note = f"{e.interval.n} clips, {e.dims[0]} and {e.dims[1]} columns or categories. {detail}"
    note += "Right: solid, clips that stop the fit; dotted, clips it is fitted on. " if e.curves else ""
    note += " ".join(f"{text}." for text in against if text) or "Nothing speaks against this number."
    title = f"{pair}, {name}: {e.text} nats, {MEANING[e.kind]}"
    return finish(fig, title, note, height=190, left=110)


def leak_figure(leaks: Leaks, modalities: Sequence[str]) -> go.Figure:
    """Draw what probes read of each factor from both halves, with the level of chance: a panel a layer.

    Filled: the factor does not belong there, so that everything right of chance is a leak.
    """
    probes, notes = leaks.probes, " ".join(f"{note}." for note in leaks.notes)
    if not probes:
        return empty_figure("No leakage to show: " + (notes or "the data have no factor to look for"))
    colors, layers = modality_colors(modalities), sorted({leak.layer for leak in probes})
    rows = list(dict.fromkeys((leak.probe.factor, leak.modality) for leak in sorted(probes, key=lambda v: v.private)))
    place = np.arange(len(rows)) + 0.5 * np.cumsum([0, *(a[0] != b[0] for a, b in pairwise(rows))])
    at = dict(zip(rows, place, strict=True))
    fig = side_by_side([f"layer {k}" for k in layers], shared_yaxes=True, horizontal_spacing=0.05)
    for leak in probes:
        color, symbol, shift = _HALVES[leak.side]
        y, probe = at[leak.probe.factor, leak.modality] - shift, leak.probe
        where = dict(row=1, col=layers.index(leak.layer) + 1)
        fig.add_scatter(x=[probe.chance] * 2, y=[y - 0.17, y + 0.17], mode="lines", line=dict(color=INK, width=2),
                        hoverinfo="skip", showlegend=False, **where)  # fmt: skip
        verdict = "belongs here" if leak.belongs else "a leak" if probe.leaks else "no leak seen"
        hover = f"{leak.side} features of {leak.modality}, layer {leak.layer}\n{probe}\n{verdict}"
        add_interval(fig, probe.score, y, color, symbol + "-open" * leak.belongs, hover, nats=False, **where)
    name_rows(fig, {y: f"{factor}, {swatch(m, colors.get(m, INK))}" for (factor, m), y in at.items()}, place[-1])
    lowest = min(-0.02, *(v.probe.score.value for v in probes))
    fig.update_xaxes(title_text="score of the probe", range=[lowest, 1.02])
    metrics = ", ".join(dict.fromkeys(v.probe.metric for v in probes))
    note = (
        f"Linear probes on clips they have not seen: {metrics}; 95 % intervals over clips and "
        f"{probes[0].probe.settings.seeds} splits; {leaks.sample}. Grey: chance. Filled: the factor does not belong "
        f"there. A leak: the interval lies above chance and above permuted clips. {notes}"
    )
    finish(fig, leaks.finding, note, height=int(_PROBE * (place[-1] + 1.4)) + 20, top=100, left=150)
    for side, (color, symbol, _) in _HALVES.items():
        add_legend(fig, {f"{side}, belongs there": f"{symbol}-open", f"{side}, does not": symbol}, 150, color)
    return fig
