"""The page of a code as HTML, the same panels every time, and the index of all codes; both themes, no network.

The live explorer shows one page; :func:`all_pages` writes the pages of all codes into one file, in which
``#layer1/code17`` is a link.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from srcid.codebook.figures.tiles import exemplar_tiles
from srcid.features.clip_media import CardMedia
from srcid.page import PLAY, drawing, picture_uri, policy, without_handlers
from srcid.style import GENERAL, code_color, modality_colors, swatch
from srcid.symbols import BACKGROUND

_TRACK = "position:relative;flex:1;min-width:50px;height:13px;background:rgba(128,128,128,.15);border-radius:2px"
_GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:14px 26px;font-size:12px"
_SMALL = "font-size:11px;opacity:.8"


def code_page(card: Any, table: Any, media: CardMedia, near: CardMedia, links: Collection[tuple[int, int]] = ()) -> str:
    """Return all that is known of one code: exemplars, near misses, classes, margins, steps, neighbours, companions.

    Args:
        card: a :class:`srcid.codebook.cards.CodeCard`.
        table: the CodeTable it was looked up in.
        media, near: what :func:`srcid.features.clip_media.card_media` read of its exemplars and near misses.
        links: (layer, code) of the codes that have a page; their numbers become links to ``#layer1/code17``.
    """
    colors = modality_colors(table.modalities)
    chip = (
        "<span style='display:inline-block;width:.9em;height:.9em;border-radius:2px;"
        f"background:{code_color(card.code, card.layer)}'></span>"
    )
    panels = [
        _panel("classes with the code", _classes(card), "bar: share of steps, 95 % interval over clips; tick: usual"),
        _panel("margin of the choice", _lines(card.margins, colors, "no margins are kept", ("0", "1")),
               "1 - nearest / second nearest distance; left: the second code is as near"),
        _panel("where in a clip", _lines(card.steps, colors, "never used", ("0", str(table.steps - 1))), "step"),
        _panel("nearest codes", _neighbours(card, links), "Euclidean distance of the code vectors"),
        *(_panel(f"codes of layer {k} at the same places", _companions(found, k, links), "bar: share; tick: usual")
          for k, found in card.together.items()),
    ]  # fmt: skip
    notes = dict.fromkeys([*card.notes, *media.problems, *near.problems])
    said = "<br>".join(html.escape(note) for note in list(notes)[:6])
    return (
        f"<div style='color:inherit;line-height:1.4'><div style='font-size:15px;margin-bottom:8px'>{chip} "
        f"{html.escape(card.finding)}</div>{exemplar_tiles(card, table, media, near)}"
        f"<div style='{_GRID}'>{''.join(panels)}</div><div style='{_SMALL};margin-top:8px'>{said}</div></div>"
    )


def all_pages(title: str, layers: Mapping[int, Any], pages: Mapping[tuple[int, int], str], notes: Sequence[str]) -> str:
    """Return one HTML document: an index of all codes, and a page for each, shown by the part after ``#``.

    Args:
        layers: by layer, a frame with a row a code: ``code``, ``steps``, ``sharedness``, ``class`` (empty where no
            class names the code), ``share``, ``example`` (HTML of :func:`thumbnail`); its attribute ``by_class`` holds
            the frame of the top codes of each class.
        pages: :func:`code_page` of (layer, code).
    """
    index = "".join(_index(layer, frame) for layer, frame in layers.items())
    said = "<br>".join(html.escape(note) for note in notes)
    body = "".join(
        f"<section id='layer{k}/code{c}'><p><a href='#'>all codes</a></p>{without_handlers(page)}</section>"
        for (k, c), page in pages.items()
    )
    return _DOCUMENT.format(
        policy=policy([_SCRIPT + PLAY]),
        script=_SCRIPT + PLAY,
        title=html.escape(title),
        index=index,
        notes=said,
        body=body,
    )


def thumbnail(media: CardMedia) -> str:
    """Return the nearest picture and the nearest word of a code as HTML, or nothing."""
    every = [shown for found in media.shown.values() for shown in found]
    picture = next((s.content for s in every if s.kind == "image"), None)
    word = next((s.content for s in every if s.kind == "word"), "")
    image = "" if picture is None else f"<img alt='' src='{picture_uri(picture, 36)}' height='36'>"
    return f"{image} {html.escape(word)}"


def _index(layer: int, frame: Any) -> str:
    most = max(int(frame["steps"].max()), 1)
    shared = "sharedness" in frame
    tiles = []
    for order, row in enumerate(frame.to_dict("records")):
        name = f"{row['share']:.0%} {row['class']}" if row["class"] else "–"
        tiles.append(
            f"<a class='tile' href='#layer{layer}/code{row['code']}' data-use='{order}' "
            f"data-class='{html.escape(row['class'] or '~', quote=True)}' "
            f"data-shared='{-row['sharedness'] if shared else 0:.4f}' "
            f"title='code {row['code']}: {row['steps']:,} steps'>"
            f"<i style='background:{code_color(row['code'], layer)}'></i><b>{row['code']}</b> {html.escape(name)}"
            f"<span>{row['example']}</span>"
            f"<u style='width:{100 * np.sqrt(row['steps'] / most):.0f}%'></u></a>"
        )
    sorts = ["use", "class", *(["shared"] if shared else [])]
    words = {"use": "use", "class": "class", "shared": "sharedness"}
    buttons = " ".join(f"<button data-by='{by}'>{words[by]}</button>" for by in sorts)
    best = _by_class(layer, frame.attrs.get("by_class"))
    return (
        f"<h2>Layer {layer}</h2><p>{len(frame)} codes in use, sorted by {buttons}; line below a tile: how often it is "
        f"used (square root)</p><div class='tiles'>{''.join(tiles)}</div>{best}"
    )


def _by_class(layer: int, best: Any) -> str:
    if best is None or not len(best):
        return "<p>No class goes with a code (p &lt; 0.05, corrected for all codes and classes).</p>"
    rows = []
    for name, part in best.groupby("class", sort=False):
        codes = ", ".join(
            f"<a href='#layer{layer}/code{r.code}'>{r.code}</a> {r.share:.0%} [{r.low:.0%}, {r.high:.0%}]"
            for r in part.itertuples()
        )
        apart = " class='apart'" if name == BACKGROUND else ""
        rows.append(f"<tr{apart}><td>{html.escape(str(name))}</td><td>{codes}</td></tr>")
    return (
        "<table><caption>codes that go with each class most strongly: share of the code's steps, 95 % interval over "
        f"clips</caption>{''.join(rows)}</table>"
    )


def _panel(title: str, content: str, legend: str) -> str:
    return f"<div><b>{title}</b>{content}<div style='{_SMALL}'>{legend}</div></div>"


def _classes(card: Any) -> str:
    rows = []
    for label, many in card.labels.items():
        kept = many[: max(2, 12 // len(card.labels))]
        rows += [(html.escape(f"{label}: {f.name}"), f.share.value, f.share.text(".0%"), f.usual, f.share.ends, GENERAL)
                 for f in kept]  # fmt: skip
    return _bars(rows) if rows else _nothing("no labels here" if card.used else "never used")


def _companions(found: Sequence[Any], layer: int, links: Collection[tuple[int, int]]) -> str:
    rows = [
        (_link(layer, f.code, links), f.share, f"{f.share:.0%}", f.usual, None, code_color(f.code, layer))
        for f in found
    ]
    return _bars(rows, "3.5em") if rows else _nothing("no code there")


def _neighbours(card: Any, links: Collection[tuple[int, int]]) -> str:
    most = max((n.distance for n in card.neighbours), default=1) or 1
    rows = [
        (_link(card.layer, n.code, links), n.distance / most, f"{n.distance:.3g}" + ("" if n.count else ", never used"),
         None, None, code_color(n.code, card.layer))
        for n in card.neighbours
    ]  # fmt: skip
    return _bars(rows, "3.5em") if rows else _nothing("no codebook, no neighbours")


def _link(layer: int, code: int, links: Collection[tuple[int, int]]) -> str:
    return f"<a href='#layer{layer}/code{code}'>{code}</a>" if (layer, code) in links else str(code)


def _bars(rows: Sequence[tuple[str, float, str, float | None, tuple[float, float] | None, str]],
          width: str = "40%") -> str:  # fmt: skip
    """Rows of (HTML name, share of the track, text, tick, ends of the interval, colour); ``width`` of the names."""
    return "".join(
        "<div style='display:flex;align-items:center;gap:6px;margin:2px 0'>"
        f"<span style='width:{width};overflow:hidden;text-overflow:ellipsis;white-space:nowrap'>{name}</span>"
        f"<span style='{_TRACK}'><span style='{_at(0, value)};height:100%;background:{color};opacity:.75'></span>"
        + (f"<span style='{_at(*ends)};top:6px;border-top:1.5px solid'></span>" if ends else "")
        + (f"<span style='{_at(tick, tick)};height:100%;border-left:2px solid'></span>" if tick is not None else "")
        + f"</span><span style='width:31%;white-space:nowrap'>{text}</span></div>"
        for name, value, text, tick, ends, color in rows
    )


def _at(low: float, high: float) -> str:
    return f"position:absolute;left:{100 * low:.1f}%;width:{100 * max(high - low, 0):.1f}%"


def _lines(series: Mapping[str, np.ndarray], colors: Mapping[str, str], nothing: str, ends: tuple[str, str]) -> str:
    """Counts as stepped lines, one a modality, each over its own maximum; the ends of the axis below."""
    drawn = {m: counts for m, counts in series.items() if counts.any()}
    if not drawn:
        return _nothing(nothing)
    paths = []
    for m, counts in drawn.items():
        heights = 1 - counts / counts.max()
        path = "".join(f"{'L' if i else 'M'}{i},{h:.3f}H{i + 1}" for i, h in enumerate(heights))
        paths.append(f"<path d='{path}' fill='none' stroke='{colors[m]}' stroke-width='1.8' "
                     "vector-effect='non-scaling-stroke'/>")  # fmt: skip
    legend = " ".join(swatch(f"{html.escape(m)} up to {c.max():,}", colors[m]) for m, c in drawn.items())
    size = len(next(iter(drawn.values())))
    look = "width:100%;height:84px;display:block;border-bottom:1px solid"
    return (
        drawing("".join(paths), f"0 -.05 {size} 1.1", look, "histogram")
        + f"<div style='display:flex;justify-content:space-between;{_SMALL}'>"
        f"<span>{ends[0]}</span><span>{legend}</span><span>{ends[1]}</span></div>"
    )


def _nothing(why: str) -> str:
    return f"<div style='opacity:.7;padding:6px 0'>{why}</div>"


_SCRIPT = """
function sort(button) {
  const by = button.dataset.by, tiles = button.closest('p').nextElementSibling;
  const value = t => t.dataset[by], use = t => Number(t.dataset.use);
  const order = (a, b) => by === 'class' ? value(a).localeCompare(value(b)) : Number(value(a)) - Number(value(b));
  [...tiles.children].sort((a, b) => order(a, b) || use(a) - use(b)).forEach(t => tiles.append(t));
}
addEventListener('click', event => event.target.dataset?.by && sort(event.target));
addEventListener('hashchange', () => scrollTo(0, 0));
"""

_DOCUMENT = """<!doctype html>
<html lang="en"><head>{policy}
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 13px/1.45 "Open Sans", Helvetica, Arial, sans-serif; margin: 16px auto; max-width: 1180px;
  padding: 0 14px; background: light-dark(#fff, #111); color: light-dark(#333, #ddd) }}
a {{ color: light-dark(#0059a3, #7fbfff) }}
section {{ display: none }} section:target {{ display: block }}
body:has(section:target) #index {{ display: none }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 6px }}
.tile {{ position: relative; display: block; padding: 4px 6px 6px; border: 1px solid rgba(128,128,128,.4);
  border-radius: 4px; text-decoration: none; color: inherit; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis }}
.tile i {{ display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: 4px }}
.tile span {{ display: flex; align-items: center; gap: 6px; height: 38px; opacity: .85 }}
.tile u {{ position: absolute; left: 0; bottom: 0; height: 3px; background: rgba(128,128,128,.7) }}
table {{ border-collapse: collapse; margin: 12px 0 }} caption {{ text-align: left; opacity: .8 }}
td {{ padding: 2px 14px 2px 0 }}
.apart td {{ border-top: 1px solid rgba(128,128,128,.6) }}
</style></head><body>
<div id="index"><h1>{title}</h1><p>{notes}</p>{index}</div>
{body}
<script>{script}</script>
</body></html>
"""
