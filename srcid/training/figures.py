"""Curves of a training run: small multiples with fixed traces, so that a live figure can be updated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import plotly.graph_objects as go

from srcid import charts
from srcid.style import DASHES, INK, finish, legend_line, modality_colors, retitle
from srcid.training.warmstart import REASONS

Metrics = Sequence[Mapping[str, Any]]
_COLUMNS = 3
_PANEL = 150  # pixels
_GAP = 62


@dataclass(frozen=True)
class Curve:
    """One line of a panel: the metric it shows and how it looks. ``group`` ties it to a legend entry."""

    key: str
    group: str
    color: str = INK
    dash: str = "solid"
    width: float = 1.6
    marker: str | None = None  # fill of sparse circles along the line
    points: bool = False  # markers only: validation


@dataclass(frozen=True)
class Panel:
    """One quantity: its title, the unit of its axis, and its curves."""

    title: str
    unit: str
    curves: tuple[Curve, ...]
    format: str = ""


def training_curves(
    metrics: Metrics, modalities: Sequence[str] = (), layers: int = 0, points: int = 200, caption: str = ""
) -> go.Figure:
    """Draw the metrics of a run: losses, mutual information with the warm start, codes, agreement, speed.

    Args:
        metrics: lines of ``metrics.jsonl``: flat dicts with a ``step`` and keys ``quantity/layer/modality``.
        modalities: names in the order of the store (this fixes their colours); empty: read from the metrics.
        layers: semantic-residual layers K; read from the metrics when 0.
        points: largest number of points of a line; more steps are averaged in bins.
        caption: parameters of the run, shown below.
    """
    modalities = tuple(modalities) or modalities_of(metrics)
    layers = layers or layers_of(metrics)
    panels = _panels(modalities, layers)
    titles = [panel.title for panel in panels]
    fig, height = charts.panels(titles, _COLUMNS, _PANEL, _GAP, horizontal_spacing=0.085)
    named: set[str] = set()
    for place, panel in enumerate(panels):
        where = dict(row=place // _COLUMNS + 1, col=place % _COLUMNS + 1)
        for curve in panel.curves:
            fig.add_trace(_trace(curve, panel, curve.group not in named and not curve.points), **where)
            named.add(curve.group)
        fig.update_yaxes(title_text=panel.unit, tickformat=panel.format, nticks=5, **where)
        if panel.unit not in ("nats", ""):
            fig.update_yaxes(rangemode="tozero", **where)
    _legend(fig, layers)
    for axis in list(fig.select_xaxes())[: len(panels)][-_COLUMNS:]:  # the lowest panel of each column
        axis.update(title_text="step")
    finish(fig, "", _note(layers, caption), height=height, top=120, bottom=52)
    legend_line(fig)
    update_training_curves(fig, metrics, modalities, layers, points)
    return fig


def update_training_curves(
    fig: go.Figure, metrics: Metrics, modalities: Sequence[str] = (), layers: int = 0, points: int = 200
) -> None:
    """Put newer ``metrics`` into a figure or widget made by :func:`training_curves` with equal arguments."""
    modalities = tuple(modalities) or modalities_of(metrics)
    layers = layers or layers_of(metrics)
    curves = [curve for panel in _panels(modalities, layers) for curve in panel.curves]
    # legend-only traces follow those of the curves
    for trace, curve in zip(fig.data, curves, strict=False):
        trace.x, trace.y = series(metrics, curve.key, points)
    fig.layout.shapes = [
        dict(
            type="line",
            x0=step,
            x1=step,
            y0=0,
            y1=1,
            xref=axis.plotly_name.replace("axis", ""),
            yref=axis.plotly_name.replace("xaxis", "y") + " domain",
            line=dict(color=INK, width=1, dash="dot"),
        )
        for layer, step in openings(metrics).items()
        for axis in list(fig.select_xaxes())[: len(_panels(modalities, layers))]
    ]
    last = max((line["step"] for line in metrics), default=1)
    fig.update_xaxes(range=[0, 1.02 * max(last, 1)])
    retitle(fig, headline(metrics, modalities))


def series(metrics: Metrics, key: str, points: int = 200) -> tuple[list[float], list[float]]:
    """Return steps and finite values of one metric, averaged in bins when there are more than ``points``."""
    pairs = [(line["step"], line[key]) for line in metrics if isinstance(line.get(key), int | float)]
    pairs = [(step, value) for step, value in pairs if math.isfinite(value)]
    size = max(1, math.ceil(len(pairs) / points))
    bins = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return (
        [sum(step for step, _ in chunk) / len(chunk) for chunk in bins],
        [sum(value for _, value in chunk) / len(chunk) for chunk in bins],
    )


def openings(metrics: Metrics) -> dict[int, int]:
    """Return the step at which each later layer is first seen open: ``{2: 340}``."""
    seen: dict[int, int] = {}
    first = True
    for line in metrics:
        if "layers_open" not in line:
            continue
        for layer in range(2, int(line["layers_open"]) + 1):
            # a layer that is open from the first line on was never waited for
            seen.setdefault(layer, -1 if first else int(line["step"]))
        first = False
    return {layer: step for layer, step in seen.items() if step >= 0}


def headline(metrics: Metrics, modalities: Sequence[str]) -> str:
    """Say in one line what the curves show so far; of the loss since a layer joined, as it adds terms of its own."""
    steps, losses = series(metrics, "loss/total", 10**9)
    if not steps:
        return "Training: waiting for the first numbers"
    opened = openings(metrics)
    newest = max(opened, key=opened.get, default=0)
    begun = next((place for place, step in enumerate(steps) if step >= opened.get(newest, 0)), len(steps) - 1)
    text = f"Step {metrics[-1].get('step', int(steps[-1]))}: loss {losses[begun]:.3g} → {losses[-1]:.3g}"
    text += f" since layer {newest} opened" if newest else ""
    last = [series(metrics, f"agreement/1/{m}-{n}", 50)[1][-1:] for m, n in combinations(modalities, 2)]
    values = [value for tail in last for value in tail]
    if values:
        ends = dict.fromkeys(f"{share:.0%}" for share in (min(values), max(values)))
        text += f"; two modalities share their layer-1 code in {' to '.join(ends)} of steps"
    return "; ".join([text, *(opening(metrics, layer, step) for layer, step in opened.items())])


def opening(metrics: Metrics, layer: int, step: int) -> str:
    """Say when a later layer opened, and why: ``layer 2 opened by step 340 (the longest wait is over)``.

    The step is that of the first line of the log that has it open, which may be some steps late.
    """
    why = next((REASONS.get(line[key], "") for line in metrics if (key := f"opened_by/{layer}") in line), "")
    return f"layer {layer} opened by step {step}" + (f" ({why})" if why else "")


def modalities_of(metrics: Metrics) -> tuple[str, ...]:
    """Return the modalities in the order in which reconstruction losses name them."""
    names = [key.split("/")[2] for line in metrics for key in line if key.startswith("recon/1/")]
    return tuple(dict.fromkeys(names))


def layers_of(metrics: Metrics) -> int:
    """Return the deepest layer that any loss or code metric names, at least 1."""
    parts = [key.split("/") for line in metrics for key in line]
    return max((int(p[1]) for p in parts if len(p) > 1 and p[1].isdigit()), default=1)


def _panels(modalities: Sequence[str], layers: int) -> list[Panel]:
    colors = modality_colors(modalities)

    def each(quantity: str, validation: bool = False) -> list[Curve]:
        lines = [
            Curve(f"{quantity}/{k}/{m}", m, colors[m], DASHES[(k - 1) % len(DASHES)])
            for k in range(1, layers + 1)
            for m in modalities
        ]
        if validation:
            lines += [Curve(f"val/{c.key}", "validation", c.color, points=True) for c in lines]
        return lines

    def whole(quantity: str, group: str = "all", width: float = 1.6) -> list[Curve]:
        return [
            Curve(f"{quantity}/{k}", group, INK, DASHES[(k - 1) % len(DASHES)], width) for k in range(1, layers + 1)
        ]

    pairs = list(combinations(modalities, 2))
    shared = [
        Curve(f"agreement/{k}/{m}-{n}", f"{m} – {n}", colors[m], DASHES[(k - 1) % len(DASHES)], marker=colors[n])
        for k in range(1, layers + 1)
        for m, n in pairs
    ]
    shared += [Curve(f"val/{c.key}", "validation", c.color, points=True) for c in shared]
    smooth = [
        Curve(f"mi_smoothed/{k}/{m}", m, colors[m], DASHES[(k - 1) % len(DASHES)], 2.8)
        for k in range(1, layers)
        for m in modalities
    ]
    return [
        Panel("total loss", "loss", (Curve("loss/total", "all"),)),
        Panel("reconstruction", "mean squared error", tuple(each("recon", validation=True))),
        Panel("commitment", "loss", tuple(each("commit"))),
        Panel("code matching (CMCM)", "nats", tuple(whole("cmcm"))),
        Panel("cross-modal prediction (CPC)", "nats", tuple(whole("cpc"))),
        Panel("MI of general and specific (CLUB)", "nats", (*each("mi"), *smooth)),
        Panel("CLUB's skill (below 0: not fitted)", "nats", tuple(each("skill", validation=True))),
        Panel("rate of s: bounds any I(z; s)", "nats a step", tuple(each("rate", validation=True))),
        Panel("scale of specific features", "root mean square", tuple(each("scale"))),
        Panel("perplexity of codes", "codes", tuple(each("perplexity", validation=True))),
        Panel("codes used in a batch", "share of codebook", tuple(each("used")), ".0%"),
        Panel("equal codes in two modalities", "share of steps", tuple(shared), ".0%"),
        Panel("gradient norm", "norm", (Curve("grad_norm", "all"),)),
        Panel("throughput", "clips a second", (Curve("clips_per_second", "all"),)),
    ]


def _trace(curve: Curve, panel: Panel, in_legend: bool) -> go.Scatter:
    marker = dict(size=5, symbol="circle-open", color=curve.color)
    if curve.marker:
        marker = dict(size=7, color=curve.marker, line=dict(color=curve.color, width=1.5), maxdisplayed=5)
    layer = curve.key.removeprefix("val/").split("/")[1:2]
    name = curve.group + (f", layer {layer[0]}" if layer and layer[0].isdigit() else "")
    value = "%{y:" + (panel.format or ".4g") + "}"
    return go.Scatter(
        x=[],
        y=[],
        name=curve.group,
        legendgroup=curve.group,
        showlegend=in_legend,
        mode="markers" if curve.points else "lines+markers" if curve.marker else "lines",
        marker=marker,
        line=dict(color=curve.color, dash=curve.dash, width=curve.width),
        hovertemplate=f"step %{{x:.0f}}: {value}<extra>{name}</extra>",
    )


def _legend(fig: go.Figure, layers: int) -> None:
    """Add the entries that no curve stands for: dashes of the layers, open circles of validation."""
    for k in range(1, layers + 1) if layers > 1 else ():
        line = dict(color=INK, dash=DASHES[(k - 1) % len(DASHES)], width=1.6)
        charts.legend_entry(fig, f"layer {k}", "lines", line=line)
    marker = dict(size=6, symbol="circle-open", color=INK)
    charts.legend_entry(fig, "validation", legendgroup="validation", marker=marker)


def _note(layers: int, caption: str) -> str:
    note = "Lines: the logged batches; open circles: validation clips after each epoch."
    if layers > 1:
        note += (
            " Upright dotted line: the next layer opens (the title says why). Bold: the smoothed MI that this watched."
        )
    return f"{note} {caption}".strip()
