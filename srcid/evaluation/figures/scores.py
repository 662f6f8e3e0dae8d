"""Scores of probes with intervals: who learned where and understands whom, class by class, what is confused, and which
answers move when a code is turned into another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import (
    DOTTED,
    arrow,
    dots,
    legend_entry,
    name_rows,
    outlined,
    panels,
    place_of,
    segments,
    sentences,
    side_by_side,
    whiskers,
)
from srcid.evaluation.details import ClassConfusion, ClassScores
from srcid.evaluation.results import score_finding
from srcid.style import GENERAL, INK, blanks, empty_figure, fade, finish, legend_line, modality_colors

_ROW = 34  # pixels of a direction
_METRICS = {"f1": "F1", "h": "H"}  # other names than those of columns
# colour: general features, quantised; grey: before quantisation. Filled: all layers; open: a single one.
_LOOKS = {
    "all": dict(symbol="circle", color=GENERAL),
    "only1": dict(symbol="circle-open", color=GENERAL),
    "continuous": dict(symbol="diamond-open", color=INK),
}
_OTHERS = ("square-open", "triangle-up-open", "cross-open", "star-open")
_WHERE_LOOKS = {"across": dict(symbol="circle", color=GENERAL), "within": dict(symbol="diamond-open", color=INK)}
_WHERE = {"across": "on modalities it has never seen", "within": "on its own modality"}
_MEANING = {"all": "all layers' codes", "only1": "layer 1's codes", "continuous": "continuous, not quantised"}
_TURN_ROW = 24  # pixels of a direction
_TURN_PANELS = (("moved", "other answers than before, %"), ("change", "right answers, change in points"))
_TURN_LOOKS = (
    ("", "{turn}", GENERAL, "circle", -0.16),
    ("control_", "random codes of equal use", INK, "diamond", 0.16),
)


def score_figure(summary: Any, modalities: tuple[str, ...] = (), notes: Sequence[str] = ()) -> go.Figure:
    """Draw the scores of probes by direction: trained on one modality → scored on one.

    Args:
        summary: frame of :meth:`srcid.evaluation.results.ProbeResults.frame`: a row per task, representation and
            direction with score, intervals and chance in percent.
        modalities: in the order of the store, which fixes their colours; read from the summary when empty.
        notes: what the results say of parts that were left out; shown where there are no scores at all.
    """
    if not len(summary):
        return empty_figure(" ".join(["No scores:", *(notes or ["the notes of the results say why."])]))
    modalities = modalities or tuple(dict.fromkeys(summary["train"]))
    tasks = list(dict.fromkeys(summary["task"]))
    directions = list(dict.fromkeys(zip(summary["train"], summary["test"], strict=True)))
    directions.sort(key=lambda pair: pair[0] == pair[1])
    across = sum(a != b for a, b in directions)
    # a free row between cross-modal and same-modality directions
    rows = {pair: place + (0.6 if pair[0] == pair[1] else 0) for place, pair in enumerate(directions)}
    metric = {task: summary.loc[summary["task"] == task, "metric"].iloc[0] for task in tasks}
    columns, tall = min(3, len(tasks)), int(_ROW * (len(rows) + 0.6))
    titles = [f"{task}, {_METRICS.get(metric[task], metric[task])}" for task in tasks]
    fig, height = panels(titles, columns, tall, shared_yaxes=True, horizontal_spacing=0.05)
    representations = list(dict.fromkeys(summary["representation"]))
    for number, task in enumerate(tasks):
        where = place_of(number, columns)
        for place, name in enumerate(representations):
            part = summary[(summary["task"] == task) & (summary["representation"] == name)]
            shift = 0.22 * (place - (len(representations) - 1) / 2)
            y = [rows[pair] + shift for pair in zip(part["train"], part["test"], strict=True)]
            look = _LOOKS.get(name) or dict(symbol=_OTHERS[place % len(_OTHERS)], color=GENERAL)
            shown = dict(name=_MEANING.get(name, name), legendgroup=name, **where)
            for low, high, width in (("clip_low", "clip_high", 1), ("seed_low", "seed_high", 3)):
                fig.add_scatter(x=segments(part[low], part[high]), y=np.repeat(y, 3), mode="lines", hoverinfo="skip",
                                line=dict(color=look["color"], width=width), showlegend=False, **shown)  # fmt: skip
            fig.add_scatter(
                x=part["score"], y=y, mode="markers", showlegend=number == 0,
                marker=outlined(**look),
                customdata=[f"{a} → {b}" for a, b in zip(part["train"], part["test"], strict=True)],
                hovertemplate="%{customdata}: %{x:.1f} %<extra>" + name + "</extra>", **shown,
            )  # fmt: skip
        chance = summary.loc[summary["task"] == task, "chance"].iloc[0]
        fig.add_vline(x=chance, line=DOTTED, **where)
    legend_entry(fig, "chance", "lines", line=DOTTED)
    colors = modality_colors(modalities)
    name_rows(fig, {y: arrow(pair, colors) for pair, y in rows.items()}, max(rows.values()))
    fig.update_xaxes(range=[0, 103], title_text="score, %", zeroline=False)
    split = summary.attrs.get("split", {})
    clips = ", ".join(f"{int(summary.loc[summary['task'] == task, 'clips'].max())} {split.get(task, '')}".strip()
                      + f" ({task})" for task in tasks)  # fmt: skip
    seeds = int(summary["seeds"].max())
    caption = (
        f"Mean over {seeds} probe seed{'s' if seeds > 1 else ''}; scored clips: {clips}. Thick line: 95 % "
        "interval over seeds, thin line over clips; brackets in the title: over clips. Chance: always answering the "
        f"most frequent class. Rows above the gap: scored on another modality than trained on ({across} directions)."
    )
    finish(fig, score_finding(summary), caption, height=height, top=92, left=130)
    return legend_line(fig)


def class_scores_figure(scores: ClassScores) -> go.Figure:
    """Draw the F1 of each class with its interval over clips, hardest classes last."""
    frame = scores.frame()
    place = np.arange(len(frame))
    fig = go.Figure()
    for shift, (where, look) in zip((-0.14, 0.14), _WHERE_LOOKS.items(), strict=True):
        value, low, high = frame[[where, f"{where}_low", f"{where}_high"]].to_numpy(float).T
        if not np.isfinite(value).any():
            continue
        fig.add_scatter(x=segments(blanks(low), blanks(high)), y=np.repeat(place + shift, 3), mode="lines",
                        line=dict(color=look["color"], width=1.5), hoverinfo="skip", showlegend=False)  # fmt: skip
        fig.add_scatter(x=blanks(value), y=place + shift, mode="markers", name=_WHERE[where],
                        marker=outlined(**look),
                        hovertemplate="%{x:.1f} %<extra>" + where + "</extra>")  # fmt: skip
    labels = [f"{name} ({support:,})" for name, support in frame["support"].items()]
    name_rows(fig, dict(enumerate(labels)), len(frame) - 1)
    fig.update_xaxes(range=[0, 102], title_text="F1, %", zeroline=False)
    caption = (
        f"In brackets: {scores.unit} of the class in the {scores.clips:,} scored {scores.split} clips. Lines: 95 % "
        f"interval over clips (bootstrap). Directions are summed; representation {scores.representation}, first probe "
        "seed."
    )
    finish(fig, scores.finding, caption, height=max(120, 26 * len(frame)), top=92, left=150)
    return legend_line(fig)


def confusion_figure(confusion: ClassConfusion) -> go.Figure:
    """Draw which class is taken for which, as shares of the true class."""
    if not confusion.counts.any():
        return empty_figure(confusion.finding)
    share, names = confusion.shares, list(confusion.classes)
    text = [[f"{100 * v:.0f}" if v >= 0.005 else "" for v in row] for row in np.nan_to_num(share)]
    few = dict(text=text, texttemplate="%{text}", textfont=dict(size=10)) if len(names) <= 14 else {}
    fig = go.Figure(
        go.Heatmap(
            z=blanks(np.round(share, 4)), x=names, y=names, zmin=0, zmax=1, customdata=confusion.counts,
            colorscale=[[0, fade(GENERAL, 0)], [1, GENERAL]], **few,
            hovertemplate="%{y} taken for %{x}: %{z:.1%}, %{customdata:,} " + confusion.unit + "<extra></extra>",
            colorbar=dict(title=dict(text="share of the true class", side="right"), tickformat=".0%", thickness=12),
        )
    )  # fmt: skip
    fig.update_xaxes(title_text="taken for", type="category", showgrid=False, tickangle=-40)
    fig.update_yaxes(title_text="true class", type="category", autorange="reversed", showgrid=False)
    caption = (
        f"Rows sum to one. {confusion.counts.sum():,} {confusion.unit} over {confusion.directions} directions; "
        f"representation {confusion.representation}, first probe seed. A single cell has no interval: read "
        "patterns, not percents."
    )
    return finish(fig, confusion.finding, caption, height=max(240, 26 * len(names)), bottom=110, left=150)


def turning_figure(turned: Any, modalities: Sequence[str] = ()) -> go.Figure:
    """Draw a :class:`srcid.evaluation.turning.Turned`: a row a task and direction, this code's and random codes'.

    Args:
        modalities: all of the table, in its order, which fixes their colours.
    """
    if not turned.effects:
        return empty_figure(f"{turned.finding}: {'; '.join(turned.notes)}.")
    colors = modality_colors(modalities or tuple(turned.counts))
    rows, ticks, y, before = [], {}, 0.0, ""
    for effect in turned.effects:
        y += 0.8 if before not in ("", effect.task) else 0.0
        ticks[y] = f"{effect.task if effect.task != before else ''}  {_direction(effect, colors)}"
        rows, y, before = [*rows, y], y + 1, effect.task
    fig = side_by_side([name for _, name in _TURN_PANELS], shared_yaxes=True, horizontal_spacing=0.04)
    for column, (field, _) in enumerate(_TURN_PANELS, start=1):
        for prefix, word, color, symbol, shift in _TURN_LOOKS:
            name = word.format(turn=turned.turn)
            found = [(row, e, getattr(e, prefix + field)) for row, e in zip(rows, turned.effects, strict=True)]
            found = [(row, e, i) for row, e, i in found if np.isfinite(i.value)]
            if not found:
                continue
            intervals = [i for *_, i in found]
            hover = [f"{e.task}, {e.train} → {e.test}, {name}: {i.text('.1f')}; {i.n} clips<br>"
                     f"right before {e.before:.0f} %, after {e.after:.0f} %" for _, e, i in found]  # fmt: skip
            dots(fig, intervals, [row + shift for row, *_ in found], color, hover, column, name=name, legendgroup=name,
                 marker=dict(symbol=symbol), error_x=whiskers(intervals, color, 1.6),
                 showlegend=column == 1)  # fmt: skip
    name_rows(fig, ticks, max(rows))
    fig.update_xaxes(range=[-2, 102], zeroline=False, row=1, col=1)
    fig.update_xaxes(zeroline=True, zerolinecolor=INK, zerolinewidth=1, row=1, col=2)
    codes = ", ".join(map(str, turned.controls))
    beside = f"Random codes: {codes}, turned into the same one, in clips that have them. "
    caption = (
        "From the modality that a probe learned on → to the one that was turned and asked; retrieval: from the one "
        "that was turned and asks → to the one that answers. Bars: 95 % intervals over clips. Localisation counts the "
        "turned steps, retrieval the 10 nearest clips and whether the partner is among them; reconstruction: the share "
        "of the features' power that the code misses. " + (beside if turned.controls else "") + sentences(turned.notes)
    )
    finish(fig, turned.finding, caption, height=int(_TURN_ROW * (max(rows) + 1.2)), top=104, left=240)
    return legend_line(fig)


def _direction(effect: Any, colors: dict[str, str]) -> str:
    ends = (effect.test, effect.train) if effect.task == "retrieval" else (effect.train, effect.test)
    return arrow(ends[:1] if effect.task == "reconstruction" else ends, colors)  # there both are the same
