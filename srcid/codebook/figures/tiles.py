"""Exemplars of a code, and clips that were found, as HTML: images to see, sounds to play, words to read."""

from __future__ import annotations

import html
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from srcid.codebook.cards import Exemplar
from srcid.features.clip_media import CardMedia, Shown, card_media
from srcid.page import picture_uri
from srcid.style import modality_colors, swatch

_SIDE = 72  # pixels of a picture's longer side
_BARS = 36  # of a drawn sound
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:10px 14px;line-height:1.35"
_CAPTION = "font-size:10.5px;opacity:.75;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_FIFTHS = ("", "nearest fifth", "second fifth", "middle fifth", "fourth fifth", "farthest fifth")
# a button of its own over the whole waveform: browsers leave the play button out of a narrow player
_BUTTON = (
    "display:flex;align-items:center;gap:3px;width:100%;min-width:60px;padding:2px 4px;cursor:pointer;color:inherit;"
    "background:transparent;border:1px solid currentColor;border-radius:4px"
)
_ICON = "this.previousElementSibling.firstElementChild.textContent="
# of a button and its sound in JupyterLab; a page of its own has srcid.page.PLAY
_CLICK = " onclick='var a=this.nextElementSibling;a.paused?a.play():a.pause()'"
_SOUND = f" onplay='{_ICON}\"⏸\"' onpause='{_ICON}\"▶\"'"


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
    return f"<div style='line-height:1.35;font-size:12px;color:inherit'>{''.join(blocks)}</div>"


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
        f"<div style='flex:1'>{_content(shown, name, color)}</div>"
        f"<figcaption style='{_CAPTION}'>{label}{where}</figcaption></figure>"
    )


def media_tile(place: Any, shown: Shown, color: str, head: str) -> str:
    """Return HTML with what one step of one modality is, and the code it has."""
    name = html.escape(f"{place.modality}, clip {place.clip_id}, step {place.step}", quote=True)
    code = f"code {place.code}" if place.code >= 0 else "no code"
    return (
        f"<figure style='margin:0;min-width:0;flex:1' title='{name}, row {place.clip}'><figcaption style='{_CAPTION}'>"
        f"{swatch(html.escape(head), color)}<br>{code}</figcaption>"
        f"{_content(shown, name, color)}</figure>"
    )


def _content(shown: Shown, name: str, color: str) -> str:
    if shown.kind == "image":
        return f"<img alt='{name}' src='{picture_uri(shown.content)}' style='height:{_SIDE}px;max-width:100%'>"
    if shown.kind == "audio":
        from IPython.display import Audio

        source = Audio(shown.content, rate=shown.rate).src_attr()
        return (
            f"<button type='button' data-play='' aria-label='play {name}'{_CLICK} style='{_BUTTON}'>"
            f"<span style='color:{color}'>▶</span>{_wave(shown.content, color)}</button>"
            f"<audio preload='metadata' src='{source}'{_SOUND}></audio>"
        )
    if shown.kind == "word":
        before, word, after = (html.escape(part) for part in (shown.before, shown.content, shown.after))
        return f"<div>{before} <b style='font-size:13px'>{word}</b> {after}</div>"
    return ""


def found_clips(table: Any, found: Any, layer: int) -> str:
    """Return HTML with a card a clip of a frame of :func:`srcid.codebook.finder.find_clips`."""
    colors = modality_colors(table.modalities)
    places = {m: [_place(table, layer, m, row) for row in found.itertuples()] for m in table.modalities}
    # card_media reads what any object with exemplars has; here each is one step of one clip
    media = card_media(SimpleNamespace(exemplars={m: tuple(p) for m, p in places.items()}), table)
    cards = []
    for i, row in enumerate(found.itertuples()):
        margin = "" if np.isnan(row.margin) else f", margin {row.margin:.2f}"
        head = f"<b>{html.escape(str(row.id))}</b> {html.escape(str(row.split))} · row {row.clip}<br>"
        head += f"{html.escape(row.classes) or '–'}<br>step {row.step} ({html.escape(row.modality)}{margin})"
        tiles = "".join(media_tile(places[m][i], media.shown[m][i], colors[m], m) for m in table.modalities)
        cards.append(f"<div>{head}<div style='display:flex;gap:6px'>{tiles}</div></div>")
    said = "".join(f"<div>{html.escape(problem)}</div>" for problem in dict.fromkeys(media.problems))
    return f"<div style='font-size:12px;color:inherit'>{said}<div style='{_GRID}'>{''.join(cards)}</div></div>"


def _place(table: Any, layer: int, modality: str, row: Any) -> Exemplar:
    references = (table.media or {}).get(modality)
    media = "" if references is None else str(references[row.clip, row.step])
    code = int(table.code(layer, modality)[row.clip, row.step])
    place = Exemplar(modality, int(row.clip), str(row.id), int(row.step), 0.0, media, "", float(row.margin), 0, code)
    return place if code >= 0 else replace(place, media="")


def without_handlers(tiles: str) -> str:
    """Tiles for a page that forbids scripts in its markup, and has :data:`srcid.page.PLAY` instead."""
    return tiles.replace(_CLICK, "").replace(_SOUND, "")


def _wave(samples: np.ndarray, color: str) -> str:
    """Draw a sound as upright bars, an SVG of a tile's width."""
    bars = "".join(f"M{x + 0.5},{-h:.2f}V{h:.2f}" for x, h in enumerate(envelope(samples, _BARS)))
    return (
        f"<svg viewBox='0 -1 {_BARS} 2' preserveAspectRatio='none' style='flex:1;min-width:0;height:34px' "
        f"aria-hidden='true'><path d='{bars}' stroke='{color}' stroke-width='.6'/></svg>"
    )


def envelope(samples: np.ndarray, bars: int) -> np.ndarray:
    """Largest amplitude in each of ``bars`` equal parts of a sound, ``[bars]`` in 0.03 to 1 (its loudest part)."""
    edges = np.linspace(0, len(samples), bars + 1).astype(int)
    peaks = np.array([np.abs(samples[start : max(stop, start + 1)]).max(initial=0) for start, stop in pairwise(edges)])
    return np.maximum(peaks / max(peaks.max(), 1e-9), 0.03)
