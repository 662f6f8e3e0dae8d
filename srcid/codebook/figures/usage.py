"""How a codebook is used: how many codes, how evenly, by whom, and how that grew during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.charts import DOTTED, add_map, dots, legend_entry, name_rows, nothing, panels, side_by_side, title
from srcid.codebook.usage import RARE
from srcid.style import INK, fade, finish, legend_line, modality_colors, swatch
from srcid.symbols import place_name

_ROW = 19  # pixels of a row of dots
_SHADES = {"frequent": 1.0, "rare": 0.35, "dead": 0.0}  # opacity of the shares of codes
STRIP = (
    "Dotted upright lines: left of the first all modalities use the code, then all but one, and so on. "
    "Shading grows with the square root of a code's share of the modality's steps; blank: never used."
)


def usage_summary(usages: Sequence[Any], notes: Sequence[str] = ()) -> go.Figure:
    """Draw perplexity (with its interval) against the size of the codebook, and the shares of used and dead codes.

    Args:
        usages: :class:`srcid.codebook.usage.Usage` of layers and stages, in the order they are shown.
        notes: why there are none; shown in their place.
    """
    if not usages:
        return nothing(notes)
    names = usages[0].names
    colors = dict(modality_colors(names[:-1])) | {names[-1]: INK}
    place = {(i, n): i * (len(names) + 0.7) + j for i in range(len(usages)) for j, n in enumerate(names)}
    titles = ["perplexity: codes in effective use", "codes of the codebook"]
    fig = side_by_side(titles, shared_yaxes=True, column_widths=[0.6, 0.4], horizontal_spacing=0.06)
    for row, name in enumerate(names):
        y = [place[i, name] for i in range(len(usages))]
        found = [u.perplexity[name] for u in usages]
        hover = [
            f"{name}: {p.text()} of {u.size} codes<br>{np.log2(p.value):.2f} of {np.log2(u.size):.2f} bits; "
            f"{u.counts[row].sum():,} clip-steps"
            for u, p in zip(usages, found, strict=True)
        ]
        dots(fig, found, y, colors[name], hover, name=name)
        for what in _SHADES:
            counts = np.array([_codes(u, what)[row] for u in usages])
            fig.add_bar(
                x=counts / [u.size for u in usages], y=y, orientation="h", width=0.72, showlegend=False, row=1, col=2,
                marker=dict(color=fade(colors[name], _SHADES[what]), line=dict(color=colors[name], width=1)),
                customdata=counts,
                hovertemplate="%{customdata} codes " + what + " (%{x:.1%})<extra>" + name + "</extra>",
            )  # fmt: skip
    every = list(place.values())
    fig.add_scatter(
        x=[u.size for u in usages for _ in names], y=every, mode="markers", name="size of the codebook",
        hoverinfo="skip", marker=dict(symbol="line-ns-open", size=11, color=INK, line_width=1.6), row=1, col=1,
    )  # fmt: skip
    for what in _SHADES:
        color = fade(INK, _SHADES[what])
        legend_entry(fig, what, marker=dict(symbol="square", size=10, color=color, line=dict(color=INK, width=1)))
    most = max(u.size for u in usages)
    ticks = 2 ** np.arange(int(np.ceil(np.log2(most))) + 1)
    ticks = ticks[:: 1 + len(ticks) // 9]
    bits = [f"{t}<br>{np.log2(t):.0f} bit{'' if t == 2 else 's'}" for t in ticks]
    fig.update_xaxes(type="log", tickvals=ticks, ticktext=bits, range=[-0.03, np.log10(1.15 * most)], col=1)
    fig.update_xaxes(title_text="share of the codes", tickformat=".0%", dtick=0.5, range=[0, 1.005], col=2)
    heads = [f"{place_name(u.layer, u.stage)} · " for u in usages]
    name_rows(fig, {y: f"{'' if n != names[0] else heads[i]}{swatch(n, colors[n])}" for (i, n), y in place.items()},
              max(every))  # fmt: skip
    fig.update_layout(barmode="stack", bargap=0)
    caption = (
        f"Joint: all modalities together. Bars of the dots: 95 % intervals from {usages[0].params['bootstrap']} "
        "resamples of clips, corrected for the codes that a sample of this size misses, so a dot may lie at their "
        f"lower end. Rare: used, but less than {RARE:g} times as often as if all codes were used equally; dead: never "
        "used."
    )
    if any(u.stage for u in usages):
        caption += " The codes of a layer are the combinations of its stages' symbols that occur in any clip."
    said = title([u for u in usages if u.stage is None] or usages)
    finish(fig, said, caption, height=int(_ROW * (max(every) + 1.4)), top=104, bottom=66, left=150)
    return legend_line(fig).update_layout(legend_traceorder="normal")


def sharing_map(sharings: Sequence[Any], notes: Sequence[str] = (), most: int = 400) -> go.Figure:
    """Draw which modalities use which code: a strip modality x code a layer, the most evenly shared codes first.

    Args:
        sharings: :class:`srcid.codebook.usage.Sharing` of the layers.
        most: largest number of codes drawn; beyond it the most used ones are.
    """
    if not sharings:
        return nothing(notes)
    modalities = sharings[0].modalities
    colors, height = modality_colors(modalities), 34 * len(modalities) + 16
    fig, total = panels([f"layer {s.layer}, the most evenly shared codes first" for s in sharings], 1, height)
    for row, shared in enumerate(sharings, start=1):
        add_sharing(fig, shared, colors, row, most)
    fig.update_xaxes(title_text="place in that order", showgrid=False)
    own = [f"layer {s.layer}: " + ", ".join(f"{m} {s.mass[m].text('.1%')}" for m in modalities) for s in sharings]
    drawn = f" Drawn: the {most} codes used most." if any(len(s.codes) > most for s in sharings) else ""
    caption = (
        f"Share of a modality's steps on codes that it alone uses: {'; '.join(own)} (95 % intervals from "
        f"{sharings[0].params['bootstrap']} resamples of clips). By chance: had every stretch of equal codes drawn its "
        f"modality at random; a code that occurs once has one user. {STRIP}{drawn}"
    )
    return finish(fig, title(sharings), caption, height=total, top=84, left=90)


def add_sharing(fig: go.Figure, shared: Any, colors: Mapping[str, str], row: int, most: int) -> None:
    """Add the strip modality x code of one layer, codes in groups by how many modalities use them."""
    order = shared_first(shared, most)
    share, codes, users = shared.share[:, order], shared.codes[order], shared.users[order]
    shades = []
    for place, m in enumerate(shared.modalities):
        values = np.full(share.shape, np.nan)
        values[place] = np.where(share[place] > 0, np.sqrt(share[place]), np.nan)
        shades.append((values, colors[m]))
    hover = np.array([
        [f"code {c}, {m}: {f'{s:.2%} of its steps' if s else 'never used'}" for c, s in zip(codes, of, strict=True)]
        for m, of in zip(shared.modalities, share, strict=True)
    ])  # fmt: skip
    add_map(fig, shades, shared.modalities, hover, row, 1, most=float(np.sqrt(share.max())))
    for end in np.flatnonzero(np.diff(users)) + 1.5:
        fig.add_vline(x=end, line=DOTTED, row=row, col=1)


def shared_first(shared: Any, most: int) -> np.ndarray:
    """Places of the (at most ``most``, most used) codes of a Sharing: by number of users, then as evenly shared."""
    kept = np.sort(np.argsort(-shared.share.sum(axis=0), kind="stable")[:most])
    return kept[np.argsort(-shared.users[kept], kind="stable")]


def _codes(use: Any, what: str) -> np.ndarray:
    """Numbers of codes of one shade, ``[names]``."""
    return {"frequent": use.used - use.rare, "rare": use.rare, "dead": use.size - use.used}[what]
