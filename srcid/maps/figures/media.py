"""What is seen, heard and read at a place of a map, in every modality, as HTML."""

from __future__ import annotations

import html
from types import SimpleNamespace
from typing import Any

from srcid.features.clip_media import Shown, card_media
from srcid.page import picture_uri
from srcid.style import modality_colors, swatch

_SIDE = 96  # pixels of a picture's longer side


def place_media(table: Any, clip: int, step: int) -> str:
    """Return what the store of ``table`` keeps of one step of a clip: pictures, players, words; and what is gone.

    Args:
        table: a CodeTable; its media references, and the store it names, are read.
        clip: row of the clip.
    """
    colors, references = modality_colors(table.modalities), table.media or {}
    places = {
        m: (SimpleNamespace(modality=m, clip=clip, step=step, media=str(references[m][clip, step])),)
        for m in table.modalities
        if m in references
    }
    media = card_media(SimpleNamespace(exemplars=places), table)
    tiles = [
        f"<figure style='margin:0'><figcaption><b>{swatch(html.escape(m), colors[m])}</b></figcaption>"
        f"{_content(shown)}</figure>"
        for m, (shown,) in media.shown.items()
        if shown.kind != "none"
    ]
    said = [html.escape(problem) for problem in media.problems] or ([] if tiles else ["no media are kept of this step"])
    where = html.escape(f"clip {table.ids[clip]}, step {step}")
    return (
        f"<div style='display:flex;flex-wrap:wrap;gap:4px 22px;align-items:flex-start;line-height:1.35'>"
        f"<b>{where}</b>{''.join(tiles)}<span style='opacity:.8'>{'<br>'.join(said)}</span></div>"
    )


def _content(shown: Shown) -> str:
    if shown.kind == "image":
        return (
            f"<img alt='' src='{picture_uri(shown.content, _SIDE)}' style='height:{_SIDE}px;image-rendering:pixelated'>"
        )
    if shown.kind == "audio":
        from IPython.display import Audio

        return Audio(shown.content, rate=shown.rate)._repr_html_()
    before, word, after = (html.escape(part) for part in (shown.before, shown.content, shown.after))
    return f"{before} <b>{word}</b> {after}"
