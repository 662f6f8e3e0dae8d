"""Mutual information in figures: during training, as brackets, and one estimate in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.information.figures.estimators import (
    MAIN,
    MEANING,
    SYMBOLS,
    estimator_legend,
    half,
    nats_ticks,
    pair_color,
    squash,
    steps_of_each,
)
from srcid.style import FAINT, INK, OKABE_ITO, empty_figure, finish, modality_colors, panel_titles
from srcid.training.figures import layers_of, modalities_of, opening, openings, series

if TYPE_CHECKING:
    from srcid.information.bracket import Bracket, Estimate
    from srcid.information.disentanglement import Measurements

_ROW = 30  # pixels


def training_information(
    metrics: Sequence[Mapping[str, Any]], modalities: Sequence[str] = (), layers: int = 0, caption: str = ""
) -> go.Figure:
    """Draw what training saw: CLUB's estimate by layer and modality with the warm-start trigger, and the scale of
    the specific features, which moves the estimate too.

    Args:
        metrics: lines of ``metrics.jsonl``.
        modalities, layers: as in the run, for colours and panels; read from the metrics when empty.
    """
    modalities = tuple(modalities) or modalities_of(metrics)
    layers = layers or layers_of(metrics)
    colors = modality_colors(modalities)
    if not any(series(metrics, f"mi/{k}/{m}")[0] for k in range(1, layers + 1) for m in modalities):
        return empty_figure("Training wrote down no mutual information: CLUB was off in all layers")
    fig = make_subplots(
        2,
        layers,
        shared_xaxes=True,
        vertical_spacing=0.14,
        horizontal_spacing=0.09,
        row_heights=[0.68, 0.32],
        subplot_titles=[f"layer {k}: CLUB's estimate" for k in range(1, layers + 1)]
        + [f"layer {k}: scale of s" for k in range(1, layers + 1)],
    )
    panel_titles(fig)
    high = 1.0
    for k in range(1, layers + 1):
        lines = [(f"mi/{k}/{m}", m, colors[m], "solid", 1.6) for m in modalities]
        lines += [(f"mi_smoothed/{k}/{m}", f"{m}, smoothed", colors[m], "solid", 3.0) for m in modalities]
        for key, name, color, dash, width in lines:
            x, y = series(metrics, key)
            if not x:
                continue
            high = max(high, *y)
            fig.add_scatter(
                x=x, y=squash(y), customdata=y, name=name, legendgroup=name, mode="lines", row=1, col=k,
                line=dict(color=color, dash=dash, width=width), showlegend=False,
                hovertemplate="step %{x:.0f}: %{customdata:.3g} nats<extra>" + name + "</extra>",
            )  # fmt: skip
        for m in modalities:
            x, y = series(metrics, f"scale/{k}/{m}")
            fig.add_scatter(
                x=x, y=y, name=m, legendgroup=m, mode="lines", row=2, col=k, showlegend=False,
                line=dict(color=colors[m], width=1.6), hovertemplate="step %{x:.0f}: %{y:.3g}<extra>" + m + "</extra>",
            )  # fmt: skip
        fig.update_yaxes(rangemode="tozero", nticks=4, row=2, col=k)
        fig.update_xaxes(title_text="step", row=2, col=k)
    for name, color, dash, width in [
        *((m, colors[m], "solid", 1.6) for m in modalities),
        ("smoothed, watched by the warm start", INK, "solid", 3.0),
    ]:
        fig.add_scatter(
            x=[None], y=[None], mode="lines", name=name, line=dict(color=color, dash=dash, width=width),
            hoverinfo="skip", legendgroup=name, row=1, col=1,
        )  # fmt: skip
    for step in openings(metrics).values():
        for row in (1, 2):
            for k in range(1, layers + 1):
                fig.add_vline(x=step, line=dict(color=INK, width=1, dash="dot"), row=row, col=k)
    last = max(line["step"] for line in metrics)
    fig.update_xaxes(range=[0, 1.02 * last])
    fig.update_yaxes(range=[squash(-0.5), squash(1.3 * high)], **nats_ticks(0, 1.3 * high), row=1)
    fig.update_yaxes(title_text="I(z; s), nats", row=1, col=1)
    fig.update_yaxes(title_text="root mean square", row=2, col=1)
    note = (
        "On the batches of training, in the features' own units; upright dotted line: the next layer opens. The "
        "estimate is what the loss minimises; how far it can be believed is asked below. " + caption
    )
    finish(fig, _headline(metrics, modalities, layers), note, height=330, top=110)
    return estimator_legend(fig, 150)


def bracket_figure(
    measurements: Measurements,
    modalities: Sequence[str] = (),
    estimators: Sequence[str] = MAIN,
    title: str = "",
    caption: str = "",
) -> go.Figure:
    """Draw each pair's bracket: a point and interval an estimator, permuted clips shaded.

    Args:
        modalities: of the run in the store's order, for colours; pairs of two modalities are grey.
        estimators: which are shown, among :data:`SYMBOLS`.
        title: the finding; made from the measurements when empty.
    """
    if not measurements.brackets:
        reasons = "; ".join(dict.fromkeys(measurements.missing.values())) or "no pair was asked for"
        return empty_figure(f"No mutual information to show: {reasons}")
    colors = modality_colors(tuple(modalities) or _modalities(measurements))
    pairs = list(measurements.brackets)
    # a free row between layers
    layers = [pair.layer for pair in pairs]
    place = np.arange(len(pairs)) + 0.5 * np.cumsum([0, *(a != b for a, b in pairwise(layers))])
    fig = go.Figure()
    ends, shown = [0.0, 1.0], {}
    for y, (pair, found) in zip(place, measurements.brackets.items(), strict=True):
        color = pair_color(pair, colors)
        used = [e for name, e in found.estimates.items() if name in estimators]
        if any(len(e.null) for e in used):
            null = np.concatenate([e.null for e in used if e.kind != "upper" or e in (found.upper,)])
            x0, x1 = squash(min(null.min(), -0.02)), squash(max(null.max(), 0.02))
            fig.add_shape(
                type="rect", x0=x0, x1=x1, y0=y - 0.42, y1=y + 0.42, fillcolor=FAINT, line_width=0, layer="below"
            )
        for number, e in enumerate(used):
            at = y + 0.6 * ((number + 0.5) / len(used) - 0.5)
            low, high = e.interval
            ends += [low, high]
            void = e.kind == "upper" and (e.value < found.lower.interval[0] or e.value < -0.25)
            sound = not (e.outside_range or void)
            fig.add_scatter(
                x=squash([low, high]), y=[at, at], mode="lines", hoverinfo="skip", showlegend=False,
                line=dict(color=color if sound else half(color), width=2),
            )  # fmt: skip
            fig.add_scatter(
                x=[float(squash(e.value))], y=[at], mode="markers", showlegend=False,
                marker=dict(
                    symbol=SYMBOLS[e.name] + ("" if sound else "-open"), size=8, color=color,
                    line=dict(width=1.4, color=color),
                ),
                hovertext=_hover(pair, found, e, void), hovertemplate="%{hovertext}<extra></extra>",
            )  # fmt: skip
            shown[e.name] = e.kind
    for name, kind in sorted(shown.items(), key=lambda item: list(SYMBOLS).index(item[0])):
        fig.add_scatter(
            x=[None], y=[None], mode="markers", name=f"{name} ({MEANING[kind]})", hoverinfo="skip",
            marker=dict(symbol=SYMBOLS[name], size=8, color=INK),
        )  # fmt: skip
    fig.add_scatter(
        x=[None], y=[None], mode="markers", name="open: not to be believed", hoverinfo="skip",
        marker=dict(symbol="circle-open", size=8, color=INK),
    )  # fmt: skip
    low, high = min(ends), 1.4 * max(ends)
    fig.update_xaxes(
        title_text="mutual information, nats a step", range=[squash(low) - 0.2, squash(high)], zeroline=True,
        zerolinecolor=INK, **nats_ticks(low, high),
    )  # fmt: skip
    fig.update_yaxes(
        tickvals=place.tolist(), range=[place[-1] + 0.6, -0.6], showgrid=False, zeroline=False,
        ticktext=[f"<span style='color:{pair_color(p, colors)}'>{p}</span>" + ("" if b.consistent else " ⚠")
                  for p, b in measurements.brackets.items()],
    )  # fmt: skip
    note = (
        f"{_size(measurements)}; intervals: {measurements.settings.level:.0%} over resampled clips and "
        f"{measurements.settings.seeds} seeds; shaded: the same on permuted clips. "
        "Open: outside the range where the estimator was tested, or an upper bound below the lower one. "
        "⚠: the bounds contradict each other (hover for which assumption broke). Bounds from above hold only as far as "
        "their q is right. "
    )
    missing = "".join(f"{pair}: not measured, {why}. " for pair, why in measurements.missing.items())
    finish(fig, title or _finding(measurements), note + missing + caption, height=int(_ROW * (place[-1] + 1.4)) + 20,
           top=110 if len(shown) > 3 else 92, left=190)  # fmt: skip
    return estimator_legend(fig, 185)


def estimate_card(pair: Any, found: Bracket, name: str, color: str = INK) -> go.Figure:
    """Draw one estimate in full: its seeds and interval beside the permuted clips, and how its q was fitted."""
    e = found.estimates[name]
    curves = [curve for curve in e.curves if len(curve)]
    fig = make_subplots(1, 2, column_widths=[0.42, 0.58], horizontal_spacing=0.12,
                        subplot_titles=["value", "fit of its network, by seed"])  # fmt: skip
    panel_titles(fig)
    rows = {"seeds": e.by_seed, "permuted": e.null}
    for y, (label, values) in enumerate(rows.items()):
        fig.add_scatter(
            x=values, y=[y] * len(values), mode="markers", name=label, showlegend=False, row=1, col=1,
            marker=dict(size=9, color=color if y == 0 else INK, symbol=SYMBOLS[name]),
            hovertemplate="%{x:.3f} nats<extra>" + label + "</extra>",
        )  # fmt: skip
    fig.add_scatter(
        x=list(e.interval), y=[-0.25, -0.25], mode="lines", line=dict(color=color, width=3), name="interval",
        showlegend=False, hovertemplate="%{x:.3f} nats<extra>interval</extra>", row=1, col=1,
    )  # fmt: skip
    for seed, curve in enumerate(curves):
        for column, (label, dash) in enumerate((("fitting clips", "dot"), ("stopping clips", "solid")), start=1):
            fig.add_scatter(
                x=curve[:, 0], y=curve[:, column], mode="lines", name=label, legendgroup=label, row=1, col=2,
                line=dict(color=OKABE_ITO[seed % len(OKABE_ITO)], dash=dash, width=1.6), showlegend=False,
                hovertemplate="step %{x}: %{y:.3f}<extra>" + f"{label}, seed {seed}</extra>",
            )  # fmt: skip
    if not curves:
        fig.add_annotation(text="nothing is trained for this estimate", showarrow=False, xref="x2 domain",
                           yref="y2 domain", x=0.5, y=0.5)  # fmt: skip
    fig.update_xaxes(title_text="nats a step", row=1, col=1)
    fig.update_yaxes(tickvals=[0, 1], ticktext=["seeds", "permuted clips"], range=[1.6, -0.6], row=1, col=1)
    fig.update_xaxes(title_text="step of the fit", row=1, col=2)
    fig.update_yaxes(title_text="log-likelihood or bound", row=1, col=2)
    low, high = e.interval
    title = f"{pair}, {name}: {e.value:.2f} nats [{low:.2f}, {high:.2f}], {MEANING[e.kind]}"
    detail = ", ".join(f"{key} {value:.2f}" for key, value in e.detail.items())
    dotted = "Right: solid, clips that stop the fit; dotted, clips it is fitted on. " if curves else ""
    note = f"{dotted}{e.clips} clips, {e.dims[0]} and {e.dims[1]} columns or classes. {detail}. "
    note += " ".join(f"{flag}." for flag in e.flags) or "Nothing speaks against this number."
    return finish(fig, title, f"{note} Bracket: {found.verdict}.", height=190, left=110)


def _hover(pair: Any, found: Bracket, e: Estimate, void: bool) -> str:
    low, high = e.interval
    lines = [f"<b>{pair}</b>", f"{e.name} ({MEANING[e.kind]}): {e.value:.3f} nats [{low:.3f}, {high:.3f}]"]
    if len(e.null):
        lines.append(f"permuted clips: {e.null.min():.3f} to {e.null.max():.3f}")
    lines += ["below the lower bound or below 0: void as an upper bound"] if void else []
    lines += [_wrapped(flag) for flag in (*e.flags, found.verdict)]
    return "<br>".join(lines)


def _wrapped(text: str, width: int = 90) -> str:
    import textwrap

    return "<br>".join(textwrap.wrap(text, width))


def _modalities(measurements: Measurements) -> tuple[str, ...]:
    return tuple(dict.fromkeys(m for pair in measurements.brackets for m in pair.modalities))


def _size(measurements: Measurements) -> str:
    source = f"{measurements.source}, " if measurements.source else ""
    return f"{source}{measurements.clips:,} clips, {steps_of_each(measurements.steps)}"


def _finding(measurements: Measurements) -> str:
    found = list(measurements.brackets.values())
    sure = measurements.sure.values()
    least = [b.lower.interval[0] for b in sure]
    bounded = sum(b.consistent and not b.upper.outside_range for b in found)
    text = f"{len(sure)} of {len(found)} pairs surely share information"
    if sure:
        text += (
            f" (at least {min(least):.1f} to {max(least):.1f} nats)" if len(sure) > 1 else f" (at least {least[0]:.1f})"
        )
    return f"{text}; {bounded} have an upper bound to be believed"


def _headline(metrics: Sequence[Mapping[str, Any]], modalities: Sequence[str], layers: int) -> str:
    parts = []
    for k in range(1, layers + 1):
        last = [y[-1] for m in modalities if (y := series(metrics, f"mi/{k}/{m}", 30)[1])]
        if last:
            parts.append(f"layer {k} ends at {min(last):.3g} to {max(last):.3g} nats")
    text = "CLUB during training: " + "; ".join(parts)
    for layer, step in openings(metrics).items():
        text += f"; {opening(metrics, layer, step)}"
    return text
