"""Codes of two runs or epochs, matched: who meets whom, and how much of a code its partner holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import add_map, nothing, panels, sentences
from srcid.style import GENERAL, INK, finish, legend_line
from srcid.symbols import place_name

_SIDE = 300  # pixels of a panel


def matching_figure(matchings: Sequence[Any], notes: Sequence[str] = (), most: int = 100) -> go.Figure:
    """Draw matched codes, a row of two panels a layer: the map of meetings, and the share of each code its partner has.

    Args:
        matchings: :class:`srcid.codebook.matching.Matching` of the layers.
        notes: why there are none; shown in their place.
        most: largest number of codes a side in a map, matched ones first.
    """
    if not matchings:
        return nothing(notes, "There is no second run or epoch to compare with.")
    first, second = matchings[0].names
    titles = [f"{place_name(m.layer)}: {what}" for m in matchings for what in ("who meets whom", "share of the code")]
    fig, height = panels(titles, 2, _SIDE, horizontal_spacing=0.12)
    for row, m in enumerate(matchings, start=1):
        _map(fig, m, row, most)
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
        fig.update_xaxes(title_text="pair of codes, the most frequent first", showgrid=False, row=row, col=2)
    caption = (
        "Codes are matched one to one so that most steps have matched codes; left, matched codes lie on the diagonal, "
        "shade is the share of the row. The matched share counts clips that took no part in matching; brackets: 95 % "
        "interval from resampled clips; chance: clips of one side shuffled. Another class: "
        "both intervals lie above a half. Without a partner: codes that meet theirs "
        f"no more often than chance makes them. {sentences([*notes, *(n for m in matchings for n in m.notes)])}"
    )
    said = f"{first} and {second}: {'; '.join(m.summary for m in matchings)}"
    finish(fig, said, caption, height=height, top=110, left=70)
    return legend_line(fig)


def _map(fig: go.Figure, m: Any, row: int, most: int) -> None:
    counts = m.counts[:most, :most]
    share = counts / np.maximum(m.counts[:most].sum(axis=1, keepdims=True), 1)
    hover = np.array([
        [f"{m.names[0]} {a}, {m.names[1]} {b}: {n:,} steps<br>{s:.0%} of the row"
         for b, n, s in zip(m.order[1][:most], *line, strict=True)]
        for a, *line in zip(m.order[0][:most], counts, share, strict=True)
    ])  # fmt: skip
    add_map(fig, [(np.where(counts > 0, share, np.nan), INK)], [""] * len(counts), hover, row, 1)
    for axis, name, length in (("x", m.names[1], counts.shape[1]), ("y", m.names[0], counts.shape[0])):
        span = [0.5, length + 0.5] if axis == "x" else [length + 0.5, 0.5]
        update = fig.update_xaxes if axis == "x" else fig.update_yaxes
        update(title_text=f"codes of {name}", showticklabels=False, showgrid=False, range=span, autorange=None,
               row=row, col=1)  # fmt: skip


def _told(match: Any, m: Any) -> str:
    first, second = m.names
    said = f"{first} {match.first} – {second} {match.second}: {match.together:,} steps together<br>"
    said += f"{match.of_first:.0%} of the one, {match.of_second:.0%} of the other"
    if match.purity is None:
        return said
    classes = [f"{name} {p.text('.0%')}" for name, p in zip(match.classes, match.purity, strict=True)]
    return f"{said}<br>{m.label}: {classes[0]} – {classes[1]}"
