"""Whether two halves came apart, in figures: factors where they do not belong, and runs with CLUB switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.information.figures.estimators import estimator_legend, nats_ticks, squash
from srcid.statistics import t_interval
from srcid.style import (
    GENERAL,
    INK,
    OKABE_ITO,
    SPECIFIC,
    SYMBOLS,
    empty_figure,
    fade,
    finish,
    modality_colors,
    panel_titles,
)

if TYPE_CHECKING:
    from srcid.information.disentanglement import Leak
    from srcid.information.ranks import RankRelation

_ROW = 26  # pixels
_UNITS = {"mi": "nats", "leak": "points above chance", "score": "%"}
_SIDES = {"general": (GENERAL, "circle", 0.16), "specific": (SPECIFIC, "square", -0.16)}


def leak_figure(
    leaks: Sequence[Leak], modalities: Sequence[str], notes: Sequence[str] = (), caption: str = ""
) -> go.Figure:
    """Draw what probes read of each factor from both halves, with the level of chance: a panel a layer.

    Filled: the factor does not belong there, so that everything right of chance is a leak.
    """
    if not leaks:
        return empty_figure("No leakage to show: " + ("; ".join(notes) or "the data have no factor to look for"))
    colors, layers = modality_colors(modalities), sorted({leak.layer for leak in leaks})
    rows = list(dict.fromkeys((leak.probe.factor, leak.modality) for leak in sorted(leaks, key=lambda v: v.private)))
    factors = [factor for factor, _ in rows]
    place = np.arange(len(rows)) + 0.5 * np.cumsum([0, *(a != b for a, b in pairwise(factors))])
    at = dict(zip(rows, place, strict=True))
    fig = make_subplots(
        1, len(layers), shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=[f"layer {k}" for k in layers]
    )
    panel_titles(fig)
    for leak in leaks:
        color, symbol, shift = _SIDES[leak.side]
        y, probe = at[leak.probe.factor, leak.modality] - shift, leak.probe
        where = dict(row=1, col=layers.index(leak.layer) + 1)
        fig.add_scatter(
            x=[probe.chance] * 2, y=[y - 0.17, y + 0.17], mode="lines", line=dict(color=INK, width=2), hoverinfo="skip",
            showlegend=False, **where,
        )  # fmt: skip
        fig.add_scatter(
            x=list(probe.interval), y=[y, y], mode="lines", line=dict(color=color, width=2), hoverinfo="skip",
            showlegend=False, **where,
        )  # fmt: skip
        low, high = probe.interval
        verdict = "belongs here" if leak.belongs else "a leak" if probe.leaks else "no leak seen"
        fig.add_scatter(
            x=[probe.score], y=[y], mode="markers", showlegend=False,
            marker=dict(
                symbol=symbol + "-open" * leak.belongs, size=8, color=color, line=dict(width=1.6, color=color)
            ),
            hovertemplate=f"{probe.factor} from {leak.side} features of {leak.modality}, layer {leak.layer}<br>"
            f"{probe.metric} {probe.score:.3f} [{low:.3f}, {high:.3f}], chance {probe.chance:.3f}<br>"
            + (f"at least {probe.nats:.2f} nats, " if np.isfinite(probe.nats) else "") + f"{verdict}<extra></extra>",
            **where,
        )  # fmt: skip
    for name, symbol, color in (
        ("general, belongs there", "circle-open", GENERAL), ("general, does not", "circle", GENERAL),
        ("specific, belongs there", "square-open", SPECIFIC), ("specific, does not", "square", SPECIFIC),
    ):  # fmt: skip
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, hoverinfo="skip", row=1, col=1,
                        marker=dict(symbol=symbol, size=8, color=color, line=dict(width=1.6, color=color)))  # fmt: skip
    fig.add_scatter(x=[None], y=[None], mode="lines", name="chance", line=dict(color=INK, width=2), hoverinfo="skip",
                    row=1, col=1)  # fmt: skip
    fig.update_yaxes(
        tickvals=place.tolist(), range=[place[-1] + 0.7, -0.7], showgrid=False, zeroline=False,
        ticktext=[f"{factor}, <span style='color:{colors.get(m, INK)}'>{m}</span>" for factor, m in rows],
    )  # fmt: skip
    fig.update_xaxes(title_text="score of the probe", range=[min(-0.02, *(v.probe.score for v in leaks)), 1.02])
    wrong = [leak for leak in leaks if not leak.belongs]
    shared = [leak for leak in wrong if not leak.private]
    own = [leak for leak in wrong if leak.private]
    title = (
        f"Leaks: shared factors are read from specific features in {sum(v.probe.leaks for v in shared)} of "
        f"{len(shared)} places, private ones from general features in {sum(v.probe.leaks for v in own)} of {len(own)}"
    )
    p = leaks[0].probe
    metrics = ", ".join(dict.fromkeys(v.probe.metric for v in leaks))
    note = (
        f"Linear probes on clips they have not seen: {metrics}, all classes weighing the same; {p.settings.level:.0%} "
        f"intervals over clips and {p.settings.seeds} splits; {p.clips:,} clips. A leak: the interval lies above "
        f"chance and above permuted clips. {' '.join(notes)} {caption}"
    )
    finish(fig, title, note, height=int(_ROW * (place[-1] + 1.4)) + 20, top=100, left=150)
    return estimator_legend(fig, 150)


def settings_figure(
    records: Sequence[Mapping[str, Any]], quantities: Mapping[str, str], setting: str = "setting", caption: str = ""
) -> go.Figure:
    """Draw runs by setting: a dot a run, the mean with its interval over runs, a panel a quantity.

    Args:
        records: one a run, with ``setting`` and the quantities; those that lack one are left out of its panel.
        quantities: title of each panel by key; keys that begin with ``mi`` get an axis of nats, ``leak`` is in points
            and ``score`` in percent.
    """
    settings = list(dict.fromkeys(record[setting] for record in records))
    quantities = {key: title for key, title in quantities.items() if any(_finite(r.get(key)) for r in records)}
    if len(settings) < 2 or not quantities:
        return empty_figure(
            f"No ablation to show: found {len(records)} runs of {len(settings)} settings, need two settings"
        )
    columns = min(4, len(quantities))
    rows = -(-len(quantities) // columns)
    each = 30 * len(settings) + 20
    height = rows * each + (rows - 1) * 70
    fig = make_subplots(
        rows, columns, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=70 / height if rows > 1 else 0,
        subplot_titles=list(quantities.values()),
    )  # fmt: skip
    panel_titles(fig)
    for number, key in enumerate(quantities):
        where = dict(row=number // columns + 1, col=number % columns + 1)
        scale = squash if key.startswith("mi") else np.asarray
        every = []
        for place, name in enumerate(settings):
            part = [(r[key], r.get("run", "")) for r in records if r[setting] == name and _finite(r.get(key))]
            if not part:
                continue
            values, names = (list(column) for column in zip(*part, strict=True))
            every += values
            color = OKABE_ITO[place % len(OKABE_ITO)]
            fig.add_scatter(
                x=scale(values), y=[place + 0.14] * len(values), mode="markers", showlegend=False,
                marker=dict(size=7, color=fade(color, 0.55), symbol=SYMBOLS[place % len(SYMBOLS)]),
                customdata=list(zip(values, names, strict=True)),
                hovertemplate=name + ": %{customdata[0]:.2f}<br>%{customdata[1]}<extra></extra>", **where,
            )  # fmt: skip
            mean = float(np.mean(values))
            low, high = t_interval(values).ends if len(values) > 1 else (mean, mean)
            fig.add_scatter(x=scale([low, high]), y=[place - 0.16] * 2, mode="lines", hoverinfo="skip",
                            line=dict(color=color, width=3), showlegend=False, **where)  # fmt: skip
            fig.add_scatter(
                x=scale([mean]), y=[place - 0.16], mode="markers", showlegend=False,
                marker=dict(size=10, color=color, symbol=SYMBOLS[place % len(SYMBOLS)]),
                hovertemplate=f"{name}: mean {mean:.2f} ± {(high - low) / 2:.2f} of {len(values)} runs<extra></extra>",
                **where,
            )  # fmt: skip
        _fit_axis(fig, every, key.startswith("mi"), where)
        fig.update_xaxes(title_text=_UNITS.get(key.split("/")[0], ""), **where)
    fig.update_yaxes(tickvals=list(range(len(settings))), ticktext=settings, range=[len(settings) - 0.4, -0.6],
                     zeroline=False, showgrid=False)  # fmt: skip
    counts = ", ".join(f"{name} {sum(r[setting] == name for r in records)}" for name in settings)
    note = "Small: single runs; large: their mean with its 95 % interval over runs (t), cut where it leaves the panel. "
    note += f"Runs: {counts}. {caption}"
    key, last = list(quantities.items())[-1]
    found = {name: [r[key] for r in records if r[setting] == name and _finite(r.get(key))] for name in settings}
    means = {name: float(np.mean(values)) for name, values in found.items() if values}
    least, most = min(means, key=means.get), max(means, key=means.get)
    title = f"{len(records)} runs, {len(settings)} settings of CLUB: mean {last} from {means[least]:.1f} ({least}) to "
    title += f"{means[most]:.1f} ({most})"
    return finish(fig, title, note, height=height, top=70, left=120)


def relation_figure(
    records: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[str, str]],
    relations: Mapping[tuple[str, str], RankRelation | str],
    names: Mapping[str, str],
    group: str = "setting",
    caption: str = "",
) -> go.Figure:
    """Draw one quantity of runs against another, with the rank correlation of each pair in its panel.

    Args:
        records: one a run, as for :func:`settings_figure`.
        pairs: quantities (across, up) of the panels; keys that begin with ``mi`` get an axis of nats.
        relations: result, or the reason why there is none, of each pair.
        names: what the quantities are called.
        group: key of the runs' colour and shape.
    """
    if not pairs or not records:
        return empty_figure("No relation to show: there is no run with both a measured information and scores")
    groups = list(dict.fromkeys(str(record[group]) for record in records))
    columns = min(4, len(pairs))
    rows = -(-len(pairs) // columns)
    height = rows * 190 + (rows - 1) * 100
    fig = make_subplots(
        rows, columns, horizontal_spacing=0.075, vertical_spacing=100 / height if rows > 1 else 0,
        subplot_titles=[_short(relations[pair]) for pair in pairs],
    )  # fmt: skip
    panel_titles(fig)
    for number, (x, y) in enumerate(pairs):
        where = dict(row=number // columns + 1, col=number % columns + 1)
        used = [r for r in records if _finite(r.get(x)) and _finite(r.get(y))]
        scale = squash if x.startswith("mi") else np.asarray
        for place, name in enumerate(groups):
            part = [r for r in used if str(r[group]) == name]
            fig.add_scatter(
                x=scale([r[x] for r in part]), y=[r[y] for r in part], mode="markers", name=name, legendgroup=name,
                showlegend=number == 0,
                marker=dict(size=8, color=OKABE_ITO[place % len(OKABE_ITO)], symbol=SYMBOLS[place % len(SYMBOLS)]),
                customdata=[(r[x], r.get("run", "")) for r in part],
                hovertemplate="%{customdata[0]:.2f}, %{y:.1f}<br>%{customdata[1]}<extra>" + name + "</extra>", **where,
            )  # fmt: skip
        if used:
            _fit_axis(fig, [r[x] for r in used], x.startswith("mi"), where)
        fig.update_xaxes(title_text=names.get(x, x), **where)
        fig.update_yaxes(title_text=names.get(y, y), **where)
    # Bonferroni: as many chances to be fooled as panels
    sure = [p for p in pairs if not isinstance(relations[p], str) and relations[p].p_value < 0.05 / len(pairs)]
    title = f"{len(records)} runs: a rank correlation is beyond chance in {len(sure)} of {len(pairs)} panels"
    note = "ρ: Spearman's rank correlation with its 95 % bootstrap interval over runs; p: permutations. "
    note += f"Beyond chance: p < 0.05 / {len(pairs)}. "
    finish(fig, title, note + caption, height=height, top=130)
    return estimator_legend(fig, 150)


def _fit_axis(fig: go.Figure, values: Sequence[float], nats: bool, where: Mapping[str, int]) -> None:
    """Let an axis show the runs themselves; an interval from two runs may reach far beyond."""
    scale = squash if nats else np.asarray
    low, high = float(min(scale(values))), float(max(scale(values)))
    margin = 0.3 * (high - low) or 0.5
    low, high = low - margin, high + margin
    if nats:
        fig.update_xaxes(range=[low, high], tickangle=0, **nats_ticks(np.sinh(low), np.sinh(high)), **where)
    else:
        fig.update_xaxes(range=[low, high], nticks=5, **where)


def _short(relation: RankRelation | str) -> str:
    if isinstance(relation, str):
        return "no ρ: too few runs that differ"
    low, high = relation.interval
    return f"ρ = {relation.rho:+.2f} [{low:+.2f}, {high:+.2f}]<br>{relation.p_text}"


def _finite(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value))
