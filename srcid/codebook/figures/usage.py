"""How a codebook is used: how many codes, how evenly, by whom, and how that grew during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from srcid.style import (
    FAINT,
    INK,
    blanks,
    empty_figure,
    fade,
    finish,
    heat_scale,
    legend_line,
    modality_colors,
    panel_titles,
)

_ROW = 19  # pixels of a row of dots
_PANEL = 210  # pixels of a panel of curves
_GAP = 78


def usage_summary(usages: Sequence[Any], notes: Sequence[str] = ()) -> go.Figure:
    """Draw perplexity (with its interval) against the size of the codebook, and the shares of used and dead codes.

    Args:
        usages: :class:`srcid.codebook.usage.Usage` of layers and stages, in the order they are shown.
        notes: why there are none; shown in their place.
    """
    if not usages:
        return _nothing(notes)
    names = usages[0].names
    colors = dict(modality_colors(names[:-1])) | {names[-1]: INK}
    place = {(i, n): i * (len(names) + 0.7) + j for i in range(len(usages)) for j, n in enumerate(names)}
    fig = make_subplots(
        1,
        2,
        shared_yaxes=True,
        column_widths=[0.6, 0.4],
        horizontal_spacing=0.06,
        subplot_titles=["perplexity: codes in effective use", "codes of the codebook"],
    )
    panel_titles(fig)
    for row, name in enumerate(names):
        y = [place[i, name] for i in range(len(usages))]
        x, low, high = (np.array([getattr(u, f)[row] for u in usages]) for f in ("perplexity", "low", "high"))
        fig.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name=name,
            showlegend=False,
            marker=dict(color=colors[name], size=8),
            error_x=whiskers(x, low, high, colors[name]),
            customdata=[
                f"{u.perplexity[row]:.1f} of {u.size} codes{interval(low[i], high[i], '.1f')}<br>"
                f"{u.bits[row]:.2f} of {u.nominal_bits:.2f} bits; {u.counts[row].sum():,} clip-steps"
                for i, u in enumerate(usages)
            ],
            hovertemplate="%{customdata}<extra>" + name + "</extra>",
            row=1,
            col=1,
        )
        for what, value in (("frequent", "used"), ("rare", "rare"), ("dead", "dead")):
            counts = np.array([getattr(u, value)[row] - (u.rare[row] if what == "frequent" else 0) for u in usages])
            fig.add_bar(
                x=counts / [u.size for u in usages],
                y=y,
                orientation="h",
                width=0.72,
                marker=dict(color=_shade(colors[name], what), line=dict(color=colors[name], width=1)),
                showlegend=False,
                customdata=counts,
                hovertemplate="%{customdata} codes " + what + " (%{x:.1%})<extra>" + name + "</extra>",
                row=1,
                col=2,
            )
    every = list(place.values())
    fig.add_scatter(
        x=[u.size for u in usages for _ in names],
        y=every,
        mode="markers",
        name="size of the codebook",
        hoverinfo="skip",
        marker=dict(symbol="line-ns-open", size=11, color=INK, line_width=1.6),
        row=1,
        col=1,
    )
    for what in ("frequent", "rare", "dead"):
        look = dict(symbol="square", size=10, color=_shade(INK, what), line=dict(color=INK, width=1))
        fig.add_scatter(x=[None], y=[None], mode="markers", name=what, marker=look, hoverinfo="skip", row=1, col=2)
    ticks = 2 ** np.arange(int(np.ceil(np.log2(max(u.size for u in usages)))) + 1)
    ticks = ticks[:: 1 + len(ticks) // 9]
    fig.update_xaxes(
        type="log",
        tickvals=ticks,
        ticktext=[f"{t}<br>{np.log2(t):.0f} bit{'' if t == 2 else 's'}" for t in ticks],
        range=[-0.03, np.log10(1.15 * max(u.size for u in usages))],
        col=1,
    )
    fig.update_xaxes(title_text="share of the codes", tickformat=".0%", dtick=0.5, range=[0, 1.005], col=2)
    fig.update_yaxes(
        tickvals=every,
        ticktext=[
            f"{place_name(usages[i]) + ' · ' if j == 0 else ''}<span style='color:{colors[n]}'>{n}</span>"
            for i in range(len(usages))
            for j, n in enumerate(names)
        ],
        range=[max(every) + 0.7, -0.7],
        zeroline=False,
        showgrid=False,
    )
    fig.update_layout(barmode="stack", bargap=0)
    found = [f"{place_name(u)}: {u.perplexity[-1]:.0f} of {u.size} codes ({u.bits[-1]:.1f} bits)" for u in usages]
    shown = [text for text, u in zip(found, usages, strict=True) if u.stage is None] or found
    p = usages[0].params
    caption = (
        f"{p['clips']:,} clips; bars of the dots: 95 % intervals from {p['bootstrap']} resamples of clips, corrected "
        "for the codes that a sample of this size misses, so a dot may lie at their lower end. Rare: used, "
        f"but less than {p['rare_share']:g} times as often as if all codes were used equally; dead: never used."
    )
    if any(u.stage for u in usages):
        caption += " The codes of a layer are the combinations of its stages' symbols that occur in any clip."
    title = f"In effective use, all modalities together: {'; '.join(shown)}"
    finish(fig, title, caption, height=int(_ROW * (max(every) + 1.4)), top=104, bottom=66, left=150)
    return legend_line(fig).update_layout(legend_traceorder="normal")


def rank_frequency(usages: Sequence[Any], notes: Sequence[str] = ()) -> go.Figure:
    """Draw how often the codes are used, the most used first, on logarithmic axes: one panel a usage."""
    if not usages:
        return _nothing(notes)
    columns = min(2, len(usages))
    fig, height = _panels([place_name(u) for u in usages], columns)
    for number, use in enumerate(usages):
        _ranks(fig, use, use.names, dict(row=number // columns + 1, col=number % columns + 1), number == 0)
    fig.update_xaxes(type="log", title_text="rank of the code", dtick="D2")
    fig.update_yaxes(type="log", title_text="share of steps", tickformat="~%", dtick=1)
    shares = [f"{use.rank_frequency()[:10].sum():.0%} in {place_name(use)}" for use in usages]
    caption = (
        f"{usages[0].params['clips']:,} clips. Dotted: even use of the whole codebook. A straight line falling one "
        "decade a decade is Zipf's law; a cliff on the right is codes that are hardly used. No intervals: the right "
        "end hangs on single clips."
    )
    title = f"The ten most used codes take {', '.join(shares)} of all steps"
    finish(fig, title, caption, height=height, top=104, left=84)
    return legend_line(fig)


def usage_growth(growths: Sequence[Any], modalities: Sequence[str], notes: Sequence[str] = ()) -> go.Figure:
    """Draw how use and agreement grew during training, a row a quantity and a column a layer.

    Args:
        growths: :class:`srcid.codebook.usage.Growth` of training, and of validation (keys that begin with "val/").
        modalities: in the order of the store, which fixes their colours.
    """
    if not growths:
        return _nothing(["no use of codes was logged during training", *notes[:1]])
    keys = sorted({key.removeprefix("val/") for growth in growths for key in growth.series})
    kinds = [kind for kind in ("perplexity", "used", "agreement") if any(k.startswith(f"{kind}/") for k in keys)]
    layers = sorted({int(key.split("/")[1]) for key in keys})
    titles = [f"layer {layer}: {kind}" for kind in kinds for layer in layers]
    fig, height = _panels(titles, len(layers), height=130)
    colors, pairs = modality_colors(modalities), {}
    order = {m: place for place, m in enumerate(modalities)}  # of the legend, pairs last
    for growth in growths:
        for key in sorted(growth.series, key=lambda k: order.get(k.split("/")[-1], len(order))):
            values = growth.series[key]
            kind, layer, name = key.removeprefix("val/").split("/")
            here = dict(row=kinds.index(kind) + 1, col=layers.index(int(layer)) + 1)
            validation, seen = key.startswith("val/"), np.isfinite(values)
            # a pair has no colour of its own: it is told apart by its dash
            dash = pairs.setdefault(name, ("solid", "dash", "dot", "dashdot")[len(pairs) % 4]) if "-" in name else None
            look = dict(color=colors.get(name, INK))
            first = not validation and here["col"] == 1 and kind in ("perplexity", "agreement")
            fig.add_scatter(
                x=growth.step[seen],
                y=values[seen],
                name=name.replace("-", " – ") if dash else name,
                legendgroup=name,
                showlegend=first,
                mode="markers" if validation else "lines",
                marker=dict(symbol="circle-open", size=6, **look),
                line=dict(width=1.4, dash=dash or "solid", **look),
                hovertemplate=f"step %{{x}}: %{{y:.3g}}<extra>{name}{', validation' if validation else ''}</extra>",
                **here,
            )
    units = {"perplexity": ("codes", ""), "used": ("share of codes", ".0%"), "agreement": ("equal codes", ".0%")}
    for row, kind in enumerate(kinds, start=1):
        fig.update_yaxes(title_text=units[kind][0], tickformat=units[kind][1], rangemode="tozero", row=row, col=1)
        fig.update_yaxes(tickformat=units[kind][1], rangemode="tozero", row=row)
    fig.update_xaxes(title_text="training step", row=len(kinds))
    last = max(int(growth.step[-1]) for growth in growths)
    caption = "Lines: one logged training batch each, so they jitter; open circles: validation clips after each epoch."
    finish(fig, f"Use of codes over {last:,} training steps", caption, height=height, top=104)
    return legend_line(fig)


def sharing_map(sharings: Sequence[Any], notes: Sequence[str] = (), most: int = 400) -> go.Figure:
    """Draw which modalities use which code: a strip modality x code a layer, the most evenly shared codes first.

    Args:
        sharings: :class:`srcid.codebook.usage.Sharing` of the layers.
        most: largest number of codes drawn; beyond it the most used ones are.
    """
    if not sharings:
        return _nothing(notes)
    modalities = sharings[0].modalities
    colors, height = modality_colors(modalities), 34 * len(modalities) + 16
    fig, total = _panels([f"layer {s.layer}, the most evenly shared codes first" for s in sharings], 1, height)
    for row, shared in enumerate(sharings, start=1):
        add_sharing(fig, shared, colors, row, 1, most)
    fig.update_xaxes(title_text="place in that order", showgrid=False)
    fig.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    found = [
        f"layer {s.layer}: {sum(s.exclusive.values())} of {len(s.codes)} used codes belong to one modality alone "
        f"({s.gap:.0%}; by chance {s.chance:.0%}), {(s.users == len(modalities)).sum()} to all"
        for s in sharings
    ]
    own = [
        f"layer {s.layer}: " + ", ".join(f"{m} {s.mass[m]:.1%}{interval(s.mass_low[m], s.mass_high[m], '.1%')}"
        for m in modalities) for s in sharings
    ]  # fmt: skip
    drawn = f" Drawn: the {most} codes used most." if any(len(s.codes) > most for s in sharings) else ""
    caption = (
        f"Share of a modality's steps on codes that it alone uses: {'; '.join(own)} (95 % intervals from "
        f"{sharings[0].params['bootstrap']} resamples of {sharings[0].params['clips']:,} clips). By chance: had every "
        f"stretch of equal codes drawn its modality at random; a code that occurs once has one user. {_STRIP}{drawn}"
    )
    return finish(fig, "; ".join(found).capitalize(), caption, height=total, top=84, left=90)


def usage_overview(usages: Sequence[Any], sharings: Sequence[Any]) -> go.Figure:
    """Draw how often codes are used: by rank, and per modality with the most evenly shared codes first.

    Args:
        usages: one :class:`srcid.codebook.usage.Usage` per layer.
        sharings: one :class:`srcid.codebook.usage.Sharing` per layer, in the same order.
    """
    if not usages:
        return empty_figure("no codes were counted: the identity quantiser has none")
    modalities = sharings[0].modalities
    colors = modality_colors(modalities)
    height = max(130, 34 * len(modalities) + 40)
    titles = [f"layer {u.layer}: {what}" for u in usages for what in ("use by rank", "used codes, most shared first")]
    fig, total = _panels(titles, 2, height, column_widths=[0.36, 0.64], horizontal_spacing=0.12)
    for row, (use, shared) in enumerate(zip(usages, sharings, strict=True), start=1):
        _ranks(fig, use, modalities, dict(row=row, col=1), row == 1)
        add_sharing(fig, shared, colors, row, 2)
        fig.update_yaxes(type="log", title_text="share of steps", tickformat="~%", dtick=1, row=row, col=1)
        fig.update_xaxes(title_text="rank of the code", rangemode="tozero", row=row, col=1)
        fig.update_xaxes(title_text="place in that order", showgrid=False, row=row, col=2)
        fig.update_yaxes(autorange="reversed", showgrid=False, ticks="", row=row, col=2)
    finding = [
        f"layer {u.layer}: perplexity {u.perplexity[-1]:.0f} of {u.size} codes, "
        f"{(s.users == len(modalities)).sum()} of {len(s.codes)} used codes shared by all modalities"
        for u, s in zip(usages, sharings, strict=True)
    ]
    caption = f"{_STRIP} {usages[0].params['clips']:,} clips."
    finish(fig, "; ".join(finding).capitalize(), caption, height=total, top=100)
    return legend_line(fig)


_STRIP = (
    "Dotted upright lines: left of the first all modalities use the code, then all but one, and so on. "
    "Shading grows with the square root of a code's share of the modality's steps; blank: never used."
)


def add_sharing(fig: go.Figure, shared: Any, colors: Mapping[str, str], row: int, col: int, most: int = 4000) -> None:
    """Add the strip modality x code of one layer, codes in groups by how many modalities use them."""
    order = shared_first(shared, most)
    share, codes, users = shared.share[:, order], shared.codes[order], shared.users[order]
    for place, m in enumerate(shared.modalities):
        z = np.full(share.shape, np.nan)
        z[place] = np.where(share[place] > 0, np.sqrt(share[place]), np.nan)
        notes = np.full(share.shape, "", dtype=object)
        notes[place] = [f"code {code}: {value:.2%} of steps" for code, value in zip(codes, share[place], strict=True)]
        fig.add_heatmap(
            z=blanks(z),
            x=np.arange(1, len(codes) + 1),
            y=shared.modalities,
            colorscale=heat_scale(colors[m], signed=False),
            zmin=0,
            zmax=float(np.sqrt(share.max())),
            showscale=False,
            hoverongaps=False,
            customdata=notes,
            hovertemplate="%{customdata}<extra>" + m + "</extra>",
            row=row,
            col=col,
        )
    for end in np.flatnonzero(np.diff(users)) + 1.5:
        fig.add_vline(x=end, line=dict(color=INK, width=1, dash="dot"), row=row, col=col)


def shared_first(shared: Any, most: int) -> np.ndarray:
    """Places of the (at most ``most``, most used) codes of a Sharing: by number of users, then as evenly shared."""
    kept = np.sort(np.argsort(-shared.share.sum(axis=0), kind="stable")[:most])
    return kept[np.argsort(-shared.users[kept], kind="stable")]


def place_name(result: Any) -> str:
    """Return "layer 1", or "layer 1, stage 2" for a result of one stage."""
    stage = result.stage if hasattr(result, "stage") else result.params.get("stage")
    return f"layer {result.layer}" + (f", stage {stage}" if stage else "")


def interval(low: float, high: float, form: str) -> str:
    """Return " [low, high]", or nothing where there is no interval."""
    return f" [{low:{form}}, {high:{form}}]" if np.isfinite(low) and np.isfinite(high) else ""


def sentences(notes: Sequence[str]) -> str:
    """Return notes as sentences for a caption, each once."""
    return " ".join(f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(notes) if note)


def whiskers(x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, width: float = 2) -> dict:
    """Return plotly's error bars from ``low`` to ``high`` around ``x``; none where they are NaN."""
    up, down = (np.nan_to_num(np.maximum(side, 0)) for side in (high - x, x - low))
    return dict(type="data", symmetric=False, array=up, arrayminus=down, color=color, thickness=width, width=0)


def _ranks(fig: go.Figure, use: Any, names: Sequence[str], here: dict, first: bool) -> None:
    """Add the shares of the codes by rank, a line a modality (grey for all together), and even use for the eye."""
    colors = modality_colors(use.names[:-1])
    for name in names:
        ranked = use.rank_frequency(name)
        fig.add_scatter(
            x=np.arange(1, len(ranked) + 1),
            y=ranked,
            name=name,
            legendgroup=name,
            showlegend=first,
            # a single code would be a line of no length
            mode="lines" if len(ranked) > 1 else "markers",
            line=dict(color=colors.get(name, INK), width=2, shape="hvh"),
            marker=dict(color=colors.get(name, INK), size=8),
            hovertemplate="rank %{x}: %{y:.2%} of steps<extra>" + name + "</extra>",
            **here,
        )
    fig.add_scatter(
        x=[1, use.size],
        y=[1 / use.size] * 2,
        mode="lines",
        name="even use",
        legendgroup="even",
        line=dict(color=INK, width=1, dash="dot"),
        showlegend=first,
        hoverinfo="skip",
        **here,
    )


def _panels(titles: Sequence[str], columns: int, height: int = _PANEL, **options: Any) -> tuple[go.Figure, int]:
    """Return a figure of titled panels, filled row by row, and the height of all."""
    rows = -(-len(titles) // columns)
    total = rows * height + (rows - 1) * _GAP
    fig = make_subplots(
        rows,
        columns,
        subplot_titles=titles,
        vertical_spacing=_GAP / total if rows > 1 else 0,
        **{"horizontal_spacing": 0.1, **options},
    )
    panel_titles(fig)
    return fig, total


def _shade(color: str, what: str) -> str:
    return {"frequent": color, "rare": fade(color, 0.35), "dead": FAINT.replace("0.25", "0.0")}[what]


def _nothing(notes: Sequence[str]) -> go.Figure:
    return empty_figure(sentences(notes) or "There are no codes to show.")
