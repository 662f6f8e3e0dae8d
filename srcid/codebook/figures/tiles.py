"""Exemplars of a code, and clips that were found, as HTML: images to see, sounds to play, words to read."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from srcid.features.clip_media import CardMedia, ClipStep, Shown, card_media, clip_step
from srcid.page import media_html, with_sounds
from srcid.style import modality_colors, swatch

_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:10px 14px;line-height:1.35"
_CAPTION = "font-size:10.5px;opacity:.75;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_FIFTHS = ("", "nearest fifth", "second fifth", "middle fifth", "fourth fifth", "farthest fifth")


def exemplar_tiles(card: Any, table: Any, media: CardMedia, near: CardMedia) -> str:
    """Return HTML with the exemplars of each modality, the nearest first, and below them its near misses.

    Args:
        card: a :class:`srcid.codebook.cards.CodeCard`.
        table: its CodeTable; all its modalities fix the colours.
        media, near: what :func:`srcid.features.clip_media.card_media` read of exemplars and near misses.
    """
    colors = modality_colors(table.modalities)
    blocks = []
    for m, exemplars in card.exemplars.items():
        count = f"{card.counts[m]:,} step{'s' * (card.counts[m] != 1)}"
        head = f"<b>{swatch(html.escape(m), colors[m])}</b> {count}"
        tiles = [_tile(e, s, colors[m]) for e, s in zip(exemplars, media.shown[m], strict=True)]
        blocks.append(_row(head, tiles) if tiles else f"<div>{head}: never has this code</div>")
        misses = zip(card.near_misses.get(m, ()), near.shown.get(m, ()), strict=True)
        if tiles := [_tile(e, s, colors[m]) for e, s in misses]:
            blocks.append(_row("near misses: this code is their second nearest, the smallest margin first", tiles))
    return f"<div style='line-height:1.35;font-size:12px;color:inherit'>{with_sounds(''.join(blocks))}</div>"


def _row(head: str, tiles: list[str]) -> str:
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(76px,1fr));gap:8px 6px;margin:3px 0 10px"
    return f"<div>{head}</div><div style='{grid}'>{''.join(tiles)}</div>"


def _tile(exemplar: Any, shown: Shown, color: str) -> str:
    name = html.escape(f"{exemplar.modality}, clip {exemplar.clip_id}, step {exemplar.step}", quote=True)
    label = f"<b>{html.escape(exemplar.label)}</b><br>" if exemplar.label else ""
    rank = _FIFTHS[exemplar.fifth] if exemplar.fifth else f"has code {exemplar.code}"
    where = f"{html.escape(str(exemplar.clip_id))}<br>step {exemplar.step} · {exemplar.distance:.3g}"
    return (
        "<figure style='margin:0;min-width:0;display:flex;flex-direction:column' "
        f"title='{name}, row {exemplar.clip}'><div style='{_CAPTION}'>{rank}</div>"
        f"<div style='flex:1'>{media_html(shown, name, color)}</div>"
        f"<figcaption style='{_CAPTION}'>{label}{where}</figcaption></figure>"
    )


def found_clips(table: Any, found: Any, layer: int) -> str:
    """Return HTML with a card a clip of a frame of :func:`srcid.codebook.finder.find_clips`."""
    colors = modality_colors(table.modalities)
    codes = {m: table.code(layer, m)[found["clip"], found["step"]] for m in table.modalities}
    places = {
        m: [clip_step(table, m, int(row.clip), int(row.step)) for row in found.itertuples()] for m in table.modalities
    }
    coded = {m: [p if code >= 0 else p._replace(media="") for p, code in zip(places[m], codes[m], strict=True)]
             for m in places}  # fmt: skip
    media = card_media(coded, table)
    cards = []
    for i, row in enumerate(found.itertuples()):
        margin = "" if np.isnan(row.margin) else f", margin {row.margin:.2f}"
        head = f"<b>{html.escape(str(row.id))}</b> {html.escape(str(row.split))} · row {row.clip}<br>"
        head += f"{html.escape(row.classes) or '–'}<br>step {row.step} ({html.escape(row.modality)}{margin})"
        tiles = "".join(_found_tile(places[m][i], row, codes[m][i], media.shown[m][i], colors[m]) for m in places)
        cards.append(f"<div>{head}<div style='display:flex;gap:6px'>{tiles}</div></div>")
    grid = f"<div style='{_GRID}'>{''.join(cards)}</div>"
    said = "".join(f"<div>{html.escape(problem)}</div>" for problem in dict.fromkeys(media.problems))
    return f"<div style='font-size:12px;color:inherit'>{said}{with_sounds(grid)}</div>"


def _found_tile(found: ClipStep, row: Any, code: int, shown: Shown, color: str) -> str:
    name = html.escape(f"{found.modality}, clip {row.id}, step {row.step}", quote=True)
    return (
        f"<figure style='margin:0;min-width:0;flex:1' title='{name}, row {row.clip}'><figcaption style='{_CAPTION}'>"
        f"{swatch(html.escape(found.modality), color)}<br>{f'code {code}' if code >= 0 else 'no code'}</figcaption>"
        f"{media_html(shown, name, color)}</figure>"
    )
