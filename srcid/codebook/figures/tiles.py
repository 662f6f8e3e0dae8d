"""The exemplars of a code as HTML: images to see, sounds to play, words to read, in the colours of the page."""

from __future__ import annotations

import base64
import html
import io
from itertools import pairwise
from typing import Any

import numpy as np

from srcid.features.clip_media import CardMedia, Shown
from srcid.style import WIDTH, modality_colors

_SIDE = 72  # pixels of a picture's longer side
_BARS = 36  # of a drawn sound
_CAPTION = "font-size:10.5px;opacity:.75;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_PLAYER = "width:100%;height:30px;display:block"


def exemplar_tiles(card: Any, table: Any, media: CardMedia) -> str:
    """Return HTML with a row of exemplars for each modality, the nearest first.

    Args:
        card: a :class:`srcid.codebook.cards.CodeCard`.
        table: its CodeTable; all its modalities fix the colours.
        media: what :func:`srcid.features.clip_media.card_media` read.
    """
    colors = modality_colors(table.modalities)
    columns = max((len(found) for found in card.exemplars.values()), default=0)
    rows = []
    for m, exemplars in card.exemplars.items():
        count = f"{card.counts[m]:,} step{'s' * (card.counts[m] != 1)}"
        rows.append(
            f"<div style='color:{colors[m]};font-weight:600'>{html.escape(m)}"
            f"<div style='font-weight:400;font-size:11px'>{count}</div></div>"
        )
        tiles = [_tile(e, s, colors[m]) for e, s in zip(exemplars, media.shown[m], strict=True)]
        if not tiles:
            tiles = [f"<div style='grid-column:2/-1;opacity:.7'>{html.escape(m)} never has this code</div>"]
        rows += tiles + ["<div></div>"] * (columns - len(tiles) if exemplars else 0)
    return (
        f"<div style='display:grid;grid-template-columns:84px repeat({max(columns, 1)},minmax(0,1fr));"
        f"gap:10px 6px;max-width:{WIDTH}px;line-height:1.35;font-size:12px;color:inherit'>{''.join(rows)}</div>"
    )


def _tile(exemplar: Any, shown: Shown, color: str) -> str:
    name = html.escape(f"{exemplar.modality}, clip {exemplar.clip_id}, step {exemplar.step}", quote=True)
    label = f"<b>{html.escape(exemplar.label)}</b><br>" if exemplar.label else ""
    where = f"{html.escape(str(exemplar.clip_id))}<br>step {exemplar.step} · {exemplar.distance:.3g}"
    return (
        "<figure style='margin:0;min-width:0;display:flex;flex-direction:column' "
        f"title='{name}, row {exemplar.clip}'><div style='flex:1'>{_content(shown, name, color)}</div>"
        f"<figcaption style='{_CAPTION}'>{label}{where}</figcaption></figure>"
    )


def _content(shown: Shown, name: str, color: str) -> str:
    if shown.kind == "image":
        return f"<img alt='{name}' src='{picture_uri(shown.content)}' style='height:{_SIDE}px;max-width:100%'>"
    if shown.kind == "audio":
        from IPython.display import Audio

        source = Audio(shown.content, rate=shown.rate).src_attr()
        return (
            f"{_wave(shown.content, color)}<audio controls controlslist='nodownload noplaybackrate' "
            f"preload='metadata' aria-label='{name}' src='{source}' style='{_PLAYER}'></audio>"
        )
    if shown.kind == "word":
        before, word, after = (html.escape(part) for part in (shown.before, shown.content, shown.after))
        return f"<div>{before} <b style='color:{color};font-size:13px'>{word}</b> {after}</div>"
    return ""


def _wave(samples: np.ndarray, color: str) -> str:
    """Draw a sound as upright bars, an SVG of a tile's width."""
    bars = "".join(f"M{x + 0.5},{-h:.2f}V{h:.2f}" for x, h in enumerate(envelope(samples, _BARS)))
    return (
        f"<svg viewBox='0 -1 {_BARS} 2' preserveAspectRatio='none' style='width:100%;height:34px;display:block' "
        f"aria-hidden='true'><path d='{bars}' stroke='{color}' stroke-width='.6'/></svg>"
    )


def envelope(samples: np.ndarray, bars: int) -> np.ndarray:
    """Largest amplitude in each of ``bars`` equal parts of a sound, ``[bars]`` in 0.03 to 1 (its loudest part)."""
    edges = np.linspace(0, len(samples), bars + 1).astype(int)
    peaks = np.array([np.abs(samples[start : max(stop, start + 1)]).max(initial=0) for start, stop in pairwise(edges)])
    return np.maximum(peaks / max(peaks.max(), 1e-9), 0.03)


def picture_uri(image: np.ndarray, side: int = _SIDE) -> str:
    """Return an image uint8 ``[H, W]`` or ``[H, W, 3]`` as a PNG data URI, its longer side about ``side`` pixels.

    Small images keep their pixels as visible squares.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    longest = max(picture.size)
    if longest <= side:
        factor = max(1, round(side / longest))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    else:
        picture.thumbnail((2 * side, 2 * side))  # twice, for screens with dense pixels
    data = io.BytesIO()
    picture.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
