"""Clips that were found, as HTML: what there is to see, hear and read at the step that each was found by."""

from __future__ import annotations

import html
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from srcid.codebook.cards import Exemplar
from srcid.codebook.figures.tiles import media_tile
from srcid.features.clip_media import card_media
from srcid.style import modality_colors

_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:10px 14px;line-height:1.35"


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
