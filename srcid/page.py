"""HTML pages that open offline and run no script but this package's own, whatever is shown in them.

Two walls, each of which would do: what others wrote is cleaned (:func:`clean`), and the page itself forbids every
script but those whose hash it names, and every address outside (:func:`policy`). Figures come as data
(:func:`figure_data`), which one script draws.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

# Draws the figure that a place names; the data are in the page's only JSON script, as all foreign scripts are gone.
DRAW = """
const known = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
for (const place of document.querySelectorAll('[data-figure]')) {
  const figure = known[place.dataset.figure];
  if (!figure || place.textContent) continue;
  place.style.height = figure.height + 'px';
  Promise.resolve().then(() => Plotly.newPlot(place, figure)).catch(() => {
    place.textContent = 'This figure is damaged.';
    place.style.height = 'auto';
  });
}
"""
# Lets buttons before a sound play it; a page that forbids handlers in its markup has this instead.
PLAY = """
addEventListener('click', event => {
  const sound = event.target.closest?.('[data-play]')?.nextElementSibling;
  if (sound instanceof HTMLAudioElement) sound.paused ? sound.play() : sound.pause();
});
for (const kind of ['play', 'pause']) addEventListener(kind, event => {
  const button = event.target.previousElementSibling;
  if (button?.matches('[data-play]')) button.firstElementChild.textContent = kind === 'play' ? '⏸' : '▶';
}, true);
"""
# a button of its own over the whole waveform: browsers leave the play button out of a narrow player
_BUTTON = (
    "display:flex;align-items:center;gap:3px;width:100%;min-width:60px;padding:2px 4px;cursor:pointer;color:inherit;"
    "background:transparent;border:1px solid;border-radius:4px"
)
_ICON = "this.previousElementSibling.firstElementChild.textContent="
# of a button and its sound in JupyterLab; a page of its own has PLAY
_CLICK = " onclick='var a=this.nextElementSibling;a.paused?a.play():a.pause()'"
_SOUND = f" onplay='{_ICON}\"⏸\"' onpause='{_ICON}\"▶\"'"

# Hidden, but where JupyterLab does not trust a notebook: there it takes away these styles, as it does the handlers.
_MUTE = (
    "<div style='block-size:0;overflow:hidden;content-visibility:hidden'>The play buttons do nothing yet, as "
    "JupyterLab does not trust this notebook: run it to hear the sounds.</div>"
)

_BARS = 36  # of a drawn sound
_LOWEST, _HIGHEST, _HEIGHT = 20, 20_000, 450  # pixels of a figure
_MOST, _DEEPEST = 10_000, 100  # elements of a piece of markup, and how deep they may nest
_SCHEMES = ("http", "https", "mailto")

_TAGS = [
    "a", "abbr", "audio", "b", "blockquote", "br", "button", "caption", "code", "col", "colgroup", "dd", "del",
    "details", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i",
    "img", "ins", "kbd", "li", "mark", "ol", "p", "path", "polyline", "pre", "q", "s", "samp", "section", "small",
    "source", "span", "strong", "sub", "summary", "sup", "svg", "table", "tbody", "td", "tfoot", "th", "thead",
    "tr", "tt", "u", "ul", "var", "video",
]  # fmt: skip
_EVERYWHERE = {
    "class", "id", "style", "title", "lang", "dir", "role", "aria-label", "aria-hidden", "data-figure", "tabindex",
}  # fmt: skip
_PLAIN = {
    "a": {"href", "name"},
    "button": {"type", "data-play"},
    "audio": {"controls", "src", "preload"},
    "details": {"open"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start", "type"},
    "source": {"src", "type"},
    "svg": {"viewBox", "viewbox", "width", "height", "preserveAspectRatio", "preserveaspectratio"},
    "path": {"d", "fill", "stroke", "stroke-width", "vector-effect"},
    "polyline": {"points", "fill", "stroke", "stroke-width"},
    "video": {"controls", "src", "width", "height"},
    **{tag: {"align", "colspan", "rowspan", "scope", "span", "valign"} for tag in ("td", "th", "col", "colgroup")},
}
_STYLES = [
    "align-content", "align-items", "align-self", "aspect-ratio", "background", "block-size", "border",
    "border-bottom", "border-collapse", "border-left", "border-radius", "border-right", "border-spacing",
    "border-top", "bottom", "box-sizing", "column-gap", "content-visibility", "fill-opacity", "flex",
    "flex-basis", "flex-direction", "flex-flow", "flex-grow", "flex-shrink", "flex-wrap", "font", "gap",
    "grid-area", "grid-auto-flow", "grid-column", "grid-row", "grid-template-areas", "grid-template-columns",
    "grid-template-rows", "image-rendering", "inset", "justify-content", "justify-items", "left",
    "list-style", "list-style-type", "margin", "margin-bottom", "margin-inline", "margin-left",
    "margin-right", "margin-top", "max-height", "max-width", "min-height", "min-width", "object-fit",
    "opacity", "order", "outline", "overflow-wrap", "overflow-x", "overflow-y", "padding", "padding-bottom",
    "padding-inline", "padding-left", "padding-right", "padding-top", "position", "right", "row-gap",
    "tab-size", "text-overflow", "top", "word-break", "z-index",
]  # fmt: skip


def policy(scripts: Sequence[str]) -> str:
    """Return the ``meta`` element that allows a page these scripts, by their hashes, and nothing from outside.

    It belongs before anything that loads or runs.
    """
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    ours = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    rules = [
        "default-src 'none'",
        " ".join(["script-src", *(ours or ["'none'"])]),
        "style-src 'unsafe-inline'",
        *(f"{what}-src data: blob:" for what in ("img", "media", "font")),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">'


def figure_data(figures: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return plotly figures, by name, as the JSON script from which :data:`DRAW` draws them.

    Args:
        figures: each as plotly's JSON has it, and possibly damaged: it comes from a file.
        config: plotly's settings for all of them; their own may lead elsewhere.
    """
    from plotly.io.json import to_json_plotly

    known = {}
    for name, figure in figures.items():
        if isinstance(figure, Mapping) and isinstance(figure.get("data"), list):
            layout = figure.get("layout") if isinstance(figure.get("layout"), Mapping) else {}
            height = layout.get("height")
            fits = type(height) in (int, float) and _LOWEST <= height <= _HIGHEST
            own = {part: figure[part] for part in ("data", "frames") if isinstance(figure.get(part), list)}
            known[name] = {**own, "layout": layout, "config": config, "height": height if fits else _HEIGHT}
    # plotly writes <, > and / as escapes and NaN as null, so that the text ends no script and any reader takes it
    return f'<script type="application/json">{to_json_plotly(known, engine="json")}</script>'


def place(name: str) -> str:
    """Return the element in which :data:`DRAW` draws the figure ``name``."""
    return f'<div class="plotly-figure" data-figure="{html.escape(name)}"></div>'


def clean(markup: Any) -> str:
    """Return markup without what could run, load, or send anything; what cannot be kept is dropped.

    Text, tables, pictures and players that lie in the markup itself stay, and so do links.
    """
    text = str(markup)
    if text.count("<") > _MOST:
        return f"<p>(left out: markup of more than {_MOST:,} elements)</p>"
    # what stands in script and style elements is no text for readers
    first, *parts = re.split(r"(?i)<(?:script|style)\b", text)
    rests = (re.split(r"(?i)</(?:script|style)[^>]*>", part, maxsplit=1) for part in parts)
    try:
        return _cleaner().clean(first + "".join(rest[1] if len(rest) == 2 else "" for rest in rests))
    except _TooDeepError:
        return f"<p>(left out: markup that nests deeper than {_DEEPEST} elements)</p>"


class _TooDeepError(Exception):
    """Markup over which the parser would take minutes: its time grows with the square of the depth."""


@functools.cache
def _cleaner() -> Any:
    from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES, CSSSanitizer
    from bleach.sanitizer import Cleaner

    class StyleSanitizer(CSSSanitizer):
        def sanitize_css(self, style: str) -> str:
            loads = re.search(r"(url|image|set|fade|element|src|expression)\s*\(|\\", style, re.IGNORECASE)
            return "" if loads else super().sanitize_css(style)  # a backslash could spell any of them

    cleaner = Cleaner(
        tags=frozenset(_TAGS),
        attributes=_allowed,
        protocols=frozenset({*_SCHEMES, "data"}),
        strip=True,
        css_sanitizer=StyleSanitizer(allowed_css_properties=[*ALLOWED_CSS_PROPERTIES, *_STYLES]),
    )
    tree = cleaner.parser.tree
    element = tree.elementClass

    def bounded(*about: Any) -> Any:
        if len(tree.openElements) > _DEEPEST:
            raise _TooDeepError
        return element(*about)

    tree.elementClass = bounded
    return cleaner


def _allowed(tag: str, name: str, value: str) -> bool:
    """Whether an element keeps an attribute; pictures and sounds lie in the page, links may lead out of it."""
    address = re.sub(r"[\x00-\x20\x7f-\xa0]+", "", html.unescape(value)).lower()
    if name == "src":
        return bool(re.match("data:(image|audio|video)/", address))
    if name == "href":
        scheme = re.match(r"([^/?#]*?):", address)
        return scheme is None or scheme[1] in _SCHEMES
    return name in _EVERYWHERE or name in _PLAIN.get(tag, ())


def picture_uri(image: Any, side: int = 72) -> str:
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


def media_html(shown: Any, name: str, color: str, side: int = 72) -> str:
    """Return HTML of a picture to see, a sound to play or a word to read; nothing where there is none.

    Args:
        shown: a :class:`srcid.features.clip_media.Shown`.
        name: what it is, as HTML.
        color: of a sound's waveform.
        side: pixels of a picture's longer side.
    """
    if shown.kind == "image":
        return f"<img alt='{name}' src='{picture_uri(shown.content, side)}' style='height:{side}px;max-width:100%'>"
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


def with_sounds(tiles: str) -> str:
    """Tiles of :func:`media_html` below a sentence, seen only where it is true, that their buttons do nothing."""
    return _MUTE + tiles if _CLICK in tiles else tiles


def without_handlers(tiles: str) -> str:
    """Tiles for a page that forbids scripts in its markup, and has :data:`PLAY` instead."""
    return tiles.replace(_CLICK, "").replace(_SOUND, "")


def _wave(samples: np.ndarray, color: str) -> str:
    """Draw a sound as upright bars, as wide as a tile."""
    bars = "".join(f"M{x + 0.5},{-h:.2f}V{h:.2f}" for x, h in enumerate(envelope(samples, _BARS)))
    path = f"<path d='{bars}' stroke='{color}' stroke-width='.6'/>"
    return drawing(path, f"0 -1 {_BARS} 2", "flex:1;min-width:0;height:34px")


def drawing(lines: str, box: str, style: str, said: str = "") -> str:
    """Return elements of SVG as a picture: JupyterLab removes SVG itself from a notebook that it does not trust.

    Args:
        lines: what is drawn; it cannot take a colour from the page.
        box: the part of the plane that fills the picture, ``x y width height``.
        style: CSS of the picture.
        said: what there is to see, for who cannot.
    """
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='{box}' preserveAspectRatio='none'>{lines}</svg>"
    address = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return f"<img alt='{html.escape(said)}' src='{address}' style='{style}'>"


def envelope(samples: np.ndarray, bars: int) -> np.ndarray:
    """Largest amplitude in each of ``bars`` equal parts of a sound, ``[bars]`` in 0.03 to 1 (its loudest part)."""
    edges = np.linspace(0, len(samples), bars + 1).astype(int)
    peaks = np.array([np.abs(samples[start : max(stop, start + 1)]).max(initial=0) for start, stop in pairwise(edges)])
    return np.maximum(peaks / max(peaks.max(), 1e-9), 0.03)
