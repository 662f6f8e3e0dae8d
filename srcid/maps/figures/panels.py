"""Maps of features and codebooks, side by side, each with its quality and the key of its colours; media at a place."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.features.clip_media import card_media, clip_step
from srcid.maps.atlas import Missing
from srcid.maps.figures.coloring import Coloring, color_by
from srcid.maps.graph import percent
from srcid.maps.projection import TITLES, Projection
from srcid.page import media_html
from srcid.style import FAINT, INK, WIDTH, empty_figure, finish, modality_colors, swatch

SVG_LIMIT = 8000  # points of a figure; WebGL above, whose contexts a page has few of
_GAP, _SIDE = 22, 24  # pixels between panels, and beside them
_LETTER = 7  # pixels of a letter in a key; more than it needs, as a page may be narrower than WIDTH
_KEY_LINES = 3
_KEPT = "\u00a0"  # a space at which no line breaks
DIM = 0.06  # opacity of what is not chosen

Panel = tuple[Projection | Missing, str]
_PICTURE = 96  # pixels of a picture's longer side


def map_figure(
    panels: Sequence[Panel], modalities: Sequence[str], columns: int | None = None, reserve: bool = False
) -> go.Figure:
    """Draw maps side by side; trace i is panel i.

    Each panel shows a map coloured by one column, its quality and its key; the caption has methods, parameters,
    seeds, numbers of points and how they were sampled. Points with ``uses`` (code vectors) grow with the square
    root of that. Above :data:`SVG_LIMIT` points the figure is drawn by WebGL.

    Args:
        panels: (:class:`srcid.maps.projection.Projection`, column) pairs. A
            :class:`srcid.maps.atlas.Missing` leaves a panel that says why there is no map.
        modalities: all modalities of the table, in its order.
        columns: panels beside each other; None: up to three.
        reserve: leave room for the longest keys, as a figure needs that is coloured anew later.
    """
    if all(_missing(p) for p, _ in panels):
        reasons = dict.fromkeys(p.finding for p, _ in panels)
        return empty_figure(" ".join(reasons) or "There are no maps to draw.")
    wide = min(len(panels), 3) if columns is None else columns
    rows = -(-len(panels) // wide)
    size = 560 if wide == 1 else (WIDTH - 2 * _SIDE - (wide - 1) * _GAP) // wide
    heads = _heads(panels)
    shades = [_shade(p, column, modalities) for p, column in panels]
    keys = [("" if c is None else c.key(int(size / _LETTER), _KEY_LINES)) for c in shades]
    once = len({id(p) for p, _ in panels}) == 1 and len(panels) > 1  # one map in several colours: said in the title
    quality = ["" if once else "<br>".join(_quality_lines(p, int(size / _LETTER))) for p, _ in panels]
    above = 30 + 14 * (max(map(_lines, quality)) + max(_KEY_LINES if reserve else 1, *map(_lines, keys)))
    drawn = WIDTH - 2 * _SIDE, rows * (above + size) + (rows - 1) * _GAP
    webgl = sum(len(p.coordinates) for p, _ in panels if not _missing(p)) > SVG_LIMIT
    fig = go.Figure()
    for i, (projection, _) in enumerate(panels):
        left = (i % wide) * (size + _GAP)
        top = (i // wide) * (above + size + _GAP) + above
        x = [left / drawn[0], (left + size) / drawn[0]]
        y = [max(0.0, 1 - (top + size) / drawn[1]), 1 - top / drawn[1]]
        _panel(fig, i, projection, shades[i], x, y, size, webgl)
        told = f"<span style='font-size:13px'>{heads[i]}</span>" + ("<br>" + quality[i] if quality[i] else "")
        _say(fig, told, f"head {i}", x[0], y[1], "top", above - 2)
        _say(fig, keys[i], f"key {i}", x[0], y[1], "bottom", 4)
    if once and not _missing(panels[0][0]):
        _say(fig, "The map: " + " ".join(_quality_lines(panels[0][0])), "quality", 0, 1, "bottom", 2)
    return finish(fig, _headline(panels), _caption(panels), height=drawn[1], top=62 if once else 44, bottom=16,
                  left=_SIDE)  # fmt: skip


def recolor(fig: go.Figure, panels: Sequence[Panel], modalities: Sequence[str]) -> None:
    """Colour the panels of a figure of :func:`map_figure` by other columns, keys included."""
    keys = {note.name: note for note in fig.layout.annotations}
    for i, (projection, column) in enumerate(panels):
        if (shade := _shade(projection, column, modalities)) is None:
            continue
        axis = fig.layout["xaxis" if i == 0 else f"xaxis{i + 1}"]
        width = (axis.domain[1] - axis.domain[0]) * (WIDTH - 2 * _SIDE)
        fig.data[i].marker.update(shade.marker())
        keys[f"key {i}"].text = shade.key(int(width / _LETTER), _KEY_LINES)


def mark(fig: go.Figure, rows: Sequence[np.ndarray] | None) -> None:
    """Mark points of every panel and dim the others; None dims nothing."""
    for i, trace in enumerate(fig.data):
        if trace.type != "scatter3d" and trace.x is not None and len(trace.x):
            trace.selectedpoints = None if rows is None else rows[i]


def _say(fig: go.Figure, text: str, name: str, x: float, y: float, anchor: str, lift: int) -> None:
    """Write ``text`` with its left edge at ``x`` and its upper or lower one ``lift`` pixels above ``y``."""
    fig.add_annotation(
        text=text, name=name, x=x, y=y, xref="paper", yref="paper", xanchor="left", yanchor=anchor, xshift=-3,
        yshift=lift, align="left", showarrow=False, font=dict(size=11, color=INK),
    )  # fmt: skip


def _lines(text: str) -> int:
    return text.count("<br>") + 1 if text else 0


def _shade(projection: Projection | Missing, column: str, modalities: Sequence[str]) -> Coloring | None:
    """The colours of a panel; None where there is no map."""
    if _missing(projection):
        return None
    return color_by(projection.columns, column, modalities, projection.order.get(column, ()))


def _missing(projection: Projection | Missing) -> bool:
    return isinstance(projection, Missing)


def _panel(fig: go.Figure, i: int, projection: Any, shade: Coloring | None, x: list, y: list, size: int,
           webgl: bool) -> None:  # fmt: skip
    """Add panel ``i``: its axes and its one trace."""
    number = "" if i == 0 else str(i + 1)
    if shade is None:
        reason = "<br>".join(textwrap.wrap(f"{projection.title}: {projection.reason}", max(20, int(size / 7))))
        middle = dict(x=sum(x) / 2, y=sum(y) / 2, xanchor="center", yanchor="middle")
        fig.add_annotation(text=reason, xref="paper", yref="paper", showarrow=False, name=f"reason {i}", **middle)
    deep = shade is not None and projection.dimensions == 3
    if deep:
        axis = dict(title="", showticklabels=False, backgroundcolor="rgba(0,0,0,0)", gridcolor=FAINT, showspikes=False)
        scene = dict(xaxis=axis, yaxis=axis, zaxis=axis, aspectmode="cube", domain=dict(x=x, y=y))
        fig.update_layout({f"scene{number}": scene | dict(camera=dict(eye=dict(x=1.3, y=1.3, z=0.9)))})
        axes = dict(zip("xyz", projection.coordinates.T, strict=True)) | dict(scene=f"scene{number}")
    else:
        plain = dict(showticklabels=False, ticks="", zeroline=False, showgrid=False, mirror=True, linecolor=FAINT)
        spans = [None, None] if shade is None else _square(projection.coordinates)
        # squares stay squares on a page of another width, and flush with their heads
        across = dict(constrain="domain", constraintoward="left", domain=x, anchor=f"y{number}", range=spans[0])
        upright = dict(constrain="domain", constraintoward="top", domain=y, anchor=f"x{number}", range=spans[1])
        fig.update_layout({
            f"xaxis{number}": plain | across,
            f"yaxis{number}": plain | upright | dict(scaleanchor=f"x{number}"),
        })  # fmt: skip
        axes = dict(xaxis=f"x{number}", yaxis=f"y{number}")
        axes |= dict(x=[], y=[]) if shade is None else dict(zip("xy", projection.coordinates.T, strict=True))
    kind = go.Scatter3d if deep else go.Scattergl if webgl else go.Scatter
    trace = kind(mode="markers", showlegend=False, **axes)
    if shade is not None:
        marker = shade.marker() | dict(size=_sizes(projection, deep), opacity=0.8, line=dict(width=0))
        trace.update(text=hover_text(projection.columns), hovertemplate="%{text}<extra></extra>", marker=marker)
        if not deep:
            trace.update(selected=dict(marker=dict(opacity=0.95)), unselected=dict(marker=dict(opacity=DIM)))
    fig.add_trace(trace)


def hover_text(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """What is said of each point when the mouse is over it, ``[n]``."""
    lines: list[list[tuple[str, str]]] = []  # of (words before, column)
    if {"modality", "clip", "step"} <= set(columns):
        lines.append([("", "modality"), (", clip ", "clip"), (", step ", "step")])
    if {"code", "layer"} <= set(columns):
        lines.append([("code ", "code"), (" of layer ", "layer")])
    if {"uses", "modality"} <= set(columns):
        lines.append([("used by ", "modality"), (", times: ", "uses")])
    if "label" in columns:
        lines.append([("", "label")])
    text = np.full(len(next(iter(columns.values()), ())), "", dtype=object)
    for i, line in enumerate(lines):
        for j, (words, name) in enumerate(line):
            text = text + ("<br>" if i and not j else "") + words + columns[name].astype(str).astype(object)
    return text


def _square(coordinates: np.ndarray) -> list[list[float]]:
    """Ranges of equal length for both axes, so that distances compare."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    half = 0.53 * float((high - low).max() or 1.0)
    return [[float(middle - half), float(middle + half)] for middle in (low + high) / 2]


def _sizes(projection: Any, deep: bool) -> Any:
    n, uses = len(projection.coordinates), projection.columns.get("uses")
    if uses is not None:
        return np.round(4 + (14 if n <= 500 else 9) * np.sqrt(uses / max(uses.max(), 1)), 1)
    size = 7 if n <= 300 else 5 if n <= 3000 else 3.5 if n <= 15_000 else 2.5
    return 0.6 * size if deep else size


def _heads(panels: Sequence[Panel]) -> list[str]:
    """What tells the panels apart: points, method, colour; at least the colour."""
    about = [
        (p.title, "" if _missing(p) else TITLES[p.method] + (", 3-D" if p.dimensions == 3 else ""), f"by {column}")
        for p, column in panels
    ]
    differ = [len({told[part] for told in about}) > 1 for part in range(3)]
    differ[2] |= not any(differ[:2])
    if len(panels) == 1:
        differ = [False, True, True]
    heads = [", ".join(told[part] for part in range(3) if differ[part] and told[part]) for told in about]
    return [f"{head[:1].upper()}{head[1:]}" if not head.startswith("t-SNE") else head for head in heads]


def _quality_lines(projection: Projection | Missing, letters: int = WIDTH) -> list[str]:
    """The quality of a map in lines of at most ``letters``, broken between numbers only."""
    if _missing(projection):
        return []
    quality = projection.quality
    told = [f"trustworthiness {quality.trustworthiness:.3f}", f"neighbours kept {percent(quality.preservation)}"]
    if quality.mixing:
        told.append(f"of another modality {percent(quality.mixing['map'])}")
    text = ", ".join(told).replace(" ", _KEPT).replace("," + _KEPT, ", ")
    if quality.mixing:
        text += f" (chance {100 * quality.mixing_chance:.1f} %)".replace(" ", _KEPT).replace(_KEPT, " ", 1)
    return [line.replace(_KEPT, " ") for line in textwrap.wrap(text, letters)]


def _headline(panels: Sequence[Panel]) -> str:
    """The finding, where all panels show the same points, or else what they show."""
    titles = list(dict.fromkeys(p.title for p, _ in panels))
    made = [p for p, _ in panels if not _missing(p)]
    if len(titles) == 1 and made:
        return made[0].finding
    text = "; ".join(titles)
    return f"{text[:1].upper()}{text[1:]}"


def _caption(panels: Sequence[Panel]) -> str:
    made = [p for p, _ in panels if not _missing(p)]
    told = ["; ".join(dict.fromkeys(p.recipe() for p in made)) + "."]
    told += dict.fromkeys(f"{note[:1].upper()}{note[1:]}." for p in made for note in p.notes)
    k, sampled = made[0].quality.k, max(p.quality.sampled for p in made)
    told.append(f"Quality: {k} nearest neighbours, trustworthiness from {sampled:,} points")
    told[-1] += "; ± is a 95 % interval over clips." if any(p.quality.preservation.known for p in made) else "."
    ties = max(p.quality.ties for p in made)
    if ties > 0.01:
        told.append(f"Ties: {ties:.0%} of points have more than {k} nearest neighbours, all of which count as kept.")
    if any("uses" in p.columns for p in made):
        told.append("The area of a dot grows with the use of the code.")
    told.append("Axes have no unit: who is near whom has a meaning, distances between groups have none.")
    return " ".join(told)


def place_media(table: Any, clip: int, step: int) -> str:
    """Return what the store of ``table`` keeps of one step of a clip: pictures, players, words; and what is gone.

    Args:
        table: a CodeTable; its media references, and the store it names, are read.
        clip: row of the clip.
    """
    colors, references = modality_colors(table.modalities), table.media or {}
    media = card_media({m: [clip_step(table, m, clip, step)] for m in table.modalities if m in references}, table)
    where = html.escape(f"clip {table.ids[clip]}, step {step}")
    tiles = [
        f"<figure style='margin:0'><figcaption><b>{swatch(html.escape(m), colors[m])}</b></figcaption>"
        f"{media_html(shown, f'{html.escape(m)}, {where}', colors[m], _PICTURE)}</figure>"
        for m, (shown,) in media.shown.items()
        if shown.kind != "none"
    ]
    said = [html.escape(problem) for problem in media.problems] or ([] if tiles else ["no media are kept of this step"])
    return (
        f"<div style='display:flex;flex-wrap:wrap;gap:4px 22px;align-items:flex-start;line-height:1.35'>"
        f"<b>{where}</b>{''.join(tiles)}<span style='opacity:.8'>{'<br>'.join(said)}</span></div>"
    )
