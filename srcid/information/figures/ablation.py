"""Runs that differ in where CLUB is on, in figures: by setting, and one quantity against another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from srcid.charts import name_rows, panels, place_of
from srcid.information.figures.estimators import add_interval, nats_ticks, squash
from srcid.statistics import Interval, t_interval
from srcid.style import OKABE_ITO, SYMBOLS, empty_figure, fade, finish, legend_line

if TYPE_CHECKING:
    from srcid.information.ablation import RankRelation

_NATS = ("mi", "code")  # columns that begin so hold nats; "leak" points, "score" percent
_UNITS = {"mi": "nats", "code": "nats", "leak": "points above chance", "score": "%"}


def settings_figure(frame: pd.DataFrame, quantities: Mapping[str, str], caption: str = "") -> go.Figure:
    """Draw runs by setting of CLUB: a dot a run, the mean with its interval over runs, a panel a quantity.

    Args:
        frame: of :func:`srcid.information.ablation.compare_settings`.
        quantities: title of each panel by column; those that the frame lacks are left out.
    """
    shown = {key: title for key, title in quantities.items() if key in frame and frame[key].notna().any()}
    settings = list(dict.fromkeys(frame["setting"])) if len(frame) else []
    if len(settings) < 2 or not shown:
        return empty_figure(f"No ablation to show: found {len(frame)} runs of {len(settings)} settings, need two")
    fig, height = panels(list(shown.values()), min(3, len(shown)), 30 * len(settings) + 20, 70, shared_yaxes=True,
                         horizontal_spacing=0.04)  # fmt: skip
    for number, key in enumerate(shown):
        where, nats = place_of(number, 3), key.split("/")[0] in _NATS
        for place, name in enumerate(settings):
            part = frame.loc[frame["setting"] == name, key].dropna()
            color, symbol = OKABE_ITO[place % len(OKABE_ITO)], SYMBOLS[place % len(SYMBOLS)]
            if part.empty:
                continue
            fig.add_scatter(
                x=squash(part) if nats else part, y=[place + 0.14] * len(part), mode="markers", showlegend=False,
                marker=dict(size=7, color=fade(color, 0.55), symbol=symbol), hovertext=[str(run) for run in part.index],
                customdata=part.to_numpy(), hovertemplate="%{customdata:.2f}<extra>%{hovertext}</extra>", **where,
            )  # fmt: skip
            mean = t_interval(part.to_numpy())
            drawn = mean if mean.known else Interval(mean.value, mean.value, mean.value)
            text = f"{name}: mean {mean.text('.2f')} of {mean.n} runs"
            add_interval(fig, drawn, place - 0.16, color, symbol, text, nats=nats, **where)
        _fit_axis(fig, frame[key].dropna().to_numpy(), nats, where)
        fig.update_xaxes(title_text=_UNITS.get(key.split("/")[0], ""), **where)
    name_rows(fig, dict(enumerate(settings)), len(settings) - 1)
    key, last = list(shown.items())[-1]
    means = frame.groupby("setting", sort=False)[key].apply(lambda part: t_interval(part.dropna().to_numpy()))
    title = f"{len(frame)} runs, mean {last}: " + "; ".join(
        f"{name} {mean.text('.1f')}{' %' * key.startswith('score/')}" for name, mean in means.items()
    )
    counts = ", ".join(f"{name} {count}" for name, count in frame["setting"].value_counts(sort=False).items())
    note = "Small: single runs; large: their mean with its 95 % interval over runs (t), "
    note += f"which goes on where its line meets the border. Runs: {counts}. {caption}"
    return finish(fig, title, note, height=height, top=70, left=120)


def relation_figure(
    frame: pd.DataFrame,
    relations: Mapping[tuple[str, str], RankRelation | str],
    names: Mapping[str, str],
    caption: str = "",
) -> go.Figure:
    """Draw one quantity of runs against another, with the rank correlation of each pair in its panel.

    Args:
        frame: of :func:`srcid.information.ablation.compare_settings`.
        relations: result, or the reason why there is none, of each pair of columns (across, up).
        names: what the quantities are called.
    """
    if not relations or not len(frame):
        return empty_figure("No relation to show: there is no run with both a measured information and scores")
    titles = [_short(found) for found in relations.values()]
    fig, height = panels(titles, min(3, len(titles)), 190, 100, horizontal_spacing=0.075)
    for number, (x, y) in enumerate(relations):
        where, nats = place_of(number, 3), x.split("/")[0] in _NATS
        used = frame.dropna(subset=[x, y]) if {x, y} <= set(frame) else frame.iloc[:0]
        for place, (name, part) in enumerate(frame.groupby("setting", sort=False)):
            part = part.loc[part.index.intersection(used.index)]
            fig.add_scatter(
                x=[] if part.empty else squash(part[x]) if nats else part[x], y=[] if part.empty else part[y],
                mode="markers", name=name, legendgroup=name, showlegend=number == 0,
                marker=dict(size=8, color=OKABE_ITO[place % len(OKABE_ITO)], symbol=SYMBOLS[place % len(SYMBOLS)]),
                hovertext=[str(run) for run in part.index], hovertemplate="%{hovertext}<extra></extra>", **where,
            )  # fmt: skip
        if len(used):
            _fit_axis(fig, used[x].to_numpy(), nats, where)
        fig.update_xaxes(title_text=names.get(x, x), **where)
        fig.update_yaxes(title_text=names.get(y, y), **where)
    # Bonferroni: as many chances to be fooled as panels
    asked = [f for f in relations.values() if not isinstance(f, str)]
    clear = [f for f in asked if f.p_value < 0.05 / len(relations)]
    said = f"a rank correlation is beyond chance in {len(clear)} of {len(asked)} panels"
    title = f"{len(frame)} runs: {said if asked else 'too few that differ for a rank correlation'}"
    note = "ρ: Spearman's rank correlation with its 95 % bootstrap interval over runs; p: permutations. "
    note += f"Beyond chance: p < 0.05 / {len(relations)}. {caption}"
    return legend_line(finish(fig, title, note, height=height, top=130))


def _fit_axis(fig: go.Figure, values: np.ndarray, nats: bool, where: Mapping[str, int]) -> None:
    """Let an axis show the runs themselves; an interval from two runs may reach far beyond."""
    scale = squash if nats else np.asarray
    low, high = float(np.min(scale(values))), float(np.max(scale(values)))
    margin = 0.3 * (high - low) or 0.5
    low, high = low - margin, high + margin
    ticks = dict(tickangle=0, **nats_ticks(np.sinh(low), np.sinh(high))) if nats else dict(nticks=5)
    fig.update_xaxes(range=[low, high], **ticks, **where)


def _short(relation: RankRelation | str) -> str:
    if isinstance(relation, str):
        return "no ρ: too few runs that differ"
    return f"ρ = {relation.rho.text('+.2f')}<br>p = {relation.p_value:.3f}"
