"""One visual identity: colours with a fixed meaning, a template for light and dark pages, titles and captions.

Meaning of colours, everywhere: a modality keeps its colour (:func:`modality_colors`); grey is what belongs to
all modalities; :data:`GENERAL` and :data:`SPECIFIC` tell the halves of a layer apart. Layers differ by dash
or shade.

A figure is complete in itself: :func:`finish` puts title and caption into the picture, so that it can be saved and
drawn anywhere. On a page they are text around it, which wraps, can be selected and never lies under the toolbar:
JupyterLab shows :func:`outside` between :func:`heading` and :func:`small_print`, as wide as the page is.
"""

from __future__ import annotations

import colorsys
import html
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.colors import hex_to_rgb

from srcid.page import DRAW, figure_data, place, policy

# Okabe and Ito's colour-blind-safe palette, https://jfly.uni-koeln.de/color. The first four keep a contrast
# of about 3:1 or more on white and on JupyterLab's dark grey alike; yellow and black do not.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GENERAL, SPECIFIC = "#E69F00", "#56B4E9"
INK = "#767676"  # 4.5:1 on white; pages replace it by their own colour of text (PAGE_STYLE), pictures by DARK
DARK = "#4d4d4d"
FAINT = "rgba(128,128,128,0.25)"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
WIDTH = 960  # pixels of a picture; on a page a figure is as wide as the page
LEAST = 720  # pixels to which it shrinks there, so that panels stay legible; a narrower page scrolls sideways

# 'showSendToCloud' removes the button that would upload the figure; the camera saves vectors, fit for a paper
CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "responsive": True,
    "displayModeBar": "hover",
    "toImageButtonOptions": {"format": "svg", "filename": "figure"},
}

# Letters are up to .6 of their size wide (DejaVu Sans, the widest font that stands in for others).
_TITLE, _TITLE_LETTERS = 15, int((WIDTH - 24) / (0.6 * 15))
_CAPTION, _CAPTION_LETTERS = 11, int((WIDTH - 24) / (0.56 * 11))
_HEAD, _LINE, _CAPTION_LINE = 34, 19, 15  # pixels of a title's first line, of each further one, of a caption's line
_INHERIT = "font-family:var(--jp-content-font-family,sans-serif);color:var(--jp-content-font-color"
_HIDDEN = dict(size=1, color="rgba(0,0,0,0)")

# Text of figures on pages: grey takes the page's colour of text, other colours go part of the way to it. So they can be
# read in both of JupyterLab's themes.
_PAGE_INK, _PART = "var(--jp-content-font-color1,currentColor)", 0.4


def _text_filled(color: str) -> str:
    """CSS selector of a figure's text in this colour."""
    return ".js-plotly-plot text[style*='fill: rgb({}, {}, {})']".format(*hex_to_rgb(color))


PAGE_STYLE = (
    f"<style>{_text_filled(INK)}{{fill:{_PAGE_INK}!important;fill-opacity:.78!important}}"
    + "".join(
        f"{_text_filled(color)}{{fill:color-mix(in srgb,{_PAGE_INK} {_PART:.0%},{color})!important}}"
        for color in OKABE_ITO
    )
    + ".js-plotly-plot text tspan[style*='fill']{fill-opacity:1}"
    f".js-plotly-plot{{min-width:{LEAST}px}}"
    # JupyterLab has a figure drawn anew without its height, say as the theme changes, and it would shrink to nothing:
    # so the drawing itself keeps its place
    ".jp-RenderedPlotly .plot-container,.jp-RenderedPlotly .svg-container{height:auto!important}"
    ".jp-RenderedPlotly .svg-container>.main-svg:first-child{position:relative!important;display:block}"
    ".js-plotly-plot .modebar-group{background-color:var(--jp-layout-color0,transparent)!important}"
    ".jp-OutputArea-output pre{word-break:normal!important}</style>"  # JupyterLab breaks printed lines inside words
)


def apply_style() -> None:
    """Make the ``srcid`` template the default and dress every renderer and notebook for it; idempotent."""
    if pio.templates.default == "srcid":
        return
    axis = dict(
        gridcolor=FAINT,
        linecolor=INK,
        zerolinecolor=FAINT,
        tickcolor=INK,
        ticks="outside",
        ticklen=4,
        showline=True,
        automargin=True,
        title=dict(standoff=8, font=dict(size=12)),
        tickfont=dict(size=11),
    )
    pio.templates["srcid"] = go.layout.Template(
        layout=dict(
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font=dict(color=INK, size=12, family="Open Sans, Helvetica, Arial, sans-serif"),
            title=dict(x=0, xref="container", xanchor="left", pad=dict(l=12), font=dict(size=15)),
            colorway=OKABE_ITO,
            xaxis=axis,
            yaxis=axis,
            margin=dict(l=60, r=24, t=60, b=60),
            legend=dict(font=dict(size=11), bgcolor="rgba(0,0,0,0)"),
            hoverlabel=dict(bgcolor="#333333", bordercolor=INK, font=dict(color="#ffffff", size=12)),
            modebar=dict(bgcolor="rgba(0,0,0,0)", color=INK, activecolor=GENERAL),
            bargap=0.25,
        )
    )
    pio.templates.default = "srcid"
    for name in pio.renderers:
        renderer = pio.renderers[name]
        if hasattr(renderer, "config"):
            renderer.config = {**(renderer.config or {}), **CONFIG}
        if renderer.__class__.__name__ == "PngRenderer":
            renderer.scale, renderer.width = 1.5, WIDTH  # sharp enough, and small enough for a committed notebook
    _show_in_notebooks()


def modality_colors(modalities: Sequence[str]) -> dict[str, str]:
    """Return each modality's colour, by its place in the store; pass all of a run's modalities, no subset."""
    return {name: OKABE_ITO[place % len(OKABE_ITO)] for place, name in enumerate(modalities)}


def code_color(code: int, layer: int = 1) -> str:
    """Return a code's colour, the same in every figure: hues a golden angle apart, in three shades."""
    if code < 0:
        return FAINT
    hue = (code * 0.618033988749895 + 0.31 * layer) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.42, 0.58, 0.72)[code % 3], 0.55)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def swatch(name: str, color: str) -> str:
    """Return a name behind a square of its colour, for figures and pages: no text in a colour reads in both themes."""
    return f"<span style='color:{color}'>■</span> {name}"


def ink_on(color: str) -> str:
    """Return black or white, whichever reads better on a ``#rrggbb`` colour (WCAG relative luminance)."""
    if not color.startswith("#"):
        return INK
    linear = [part / 255 for part in hex_to_rgb(color)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in linear]
    return "#ffffff" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.18 else "#000000"


def fade(color: str, alpha: float) -> str:
    """Return a ``#rrggbb`` colour at opacity ``alpha``."""
    return "rgba({},{},{},{:g})".format(*hex_to_rgb(color), alpha)


def heat_scale(color: str, signed: bool) -> list[list]:
    """Return a colour scale from transparent to ``color``; signed values come from grey over transparent."""
    if signed:
        return [[0, INK], [0.5, fade(color, 0.0)], [1, color]]
    return [[0, fade(color, 0.0)], [1, color]]


def finish(
    fig: go.Figure, title: str, caption: str, height: int, top: int = 60, bottom: int = 60, left: int = 60
) -> go.Figure:
    """Give a figure its title, its caption below the plots, its size, and the template.

    ``top``, ``bottom`` and ``left`` are margins in pixels; ``top`` holds a title of one line, and grows with more.
    """
    apply_style()
    lines = textwrap.wrap(caption, _CAPTION_LETTERS)
    below = bottom + _CAPTION_LINE * len(lines)
    fig.update_layout(
        template="srcid",
        title=dict(text="", y=1, yref="container", yanchor="top", font=dict(size=_TITLE)),
        height=height + top + below,
        width=WIDTH,
        margin=dict(t=top, b=below, l=left),
    )
    retitle(fig, title)
    # anchored in pixels to the lower edge, whatever the height of the plots
    fig.add_annotation(
        text="<br>".join(lines),
        name="caption",
        x=0,
        xref="paper",
        xanchor="left",
        xshift=12 - left,
        y=0,
        yref="paper",
        yanchor="bottom",
        yshift=-below + 4,
        showarrow=False,
        align="left",
        font=dict(size=_CAPTION, color=INK),
    )
    fig._config = {**(fig._config or {}), **CONFIG}
    return fig


def retitle(fig: go.Figure, title: str) -> None:
    """Give a figure of :func:`finish` another title, and the room its lines need."""
    before, lines = fig.layout.title.text.count("<br>"), textwrap.wrap(title, _TITLE_LETTERS)
    more = max(len(lines) - 1, 0)
    fig.layout.title.update(text="<br>".join(lines), pad=dict(t=12 + 12 * more, l=12))
    if fig.layout.title.font.size != _HIDDEN["size"]:
        _add_room(fig, _LINE * (more - before))


def legend_line(fig: go.Figure) -> go.Figure:
    """Put the legend in a line between title and plots; call it after :func:`finish` with a high ``top``."""
    lines = fig.layout.title.text.count("<br>")
    place = 1 - (_HEAD + 6 + _LINE * lines) / fig.layout.height
    return fig.update_layout(legend=dict(orientation="h", x=0, y=place, yref="container", yanchor="top"))


def _add_room(fig: go.Figure, above: int, below: int = 0) -> None:
    """Add pixels above and below the plots, or take some away; plots and a line of legend stay where they are."""
    layout, height = fig.layout, fig.layout.height + above + below
    if layout.legend.yref == "container" and layout.legend.y is not None:
        layout.legend.y = 1 - ((1 - layout.legend.y) * layout.height + above) / height
    layout.update(height=height, margin=dict(t=layout.margin.t + above, b=layout.margin.b + below))


def words(fig: go.Figure) -> tuple[str, str]:
    """Title and caption of a figure, each on one line; empty for a figure that :func:`finish` did not make."""
    notes = [note.text or "" for note in fig.layout.annotations if note.name == "caption"]
    if not notes:
        return "", ""
    return (fig.layout.title.text or "").replace("<br>", " "), notes[0].replace("<br>", " ")


def outside(fig: go.Figure) -> go.Figure:
    """A copy of a figure for a page that says title and caption itself: as wide as there is room, without theirs."""
    title, caption = words(fig)
    shown = go.Figure(fig)
    shown._config = fig._config
    if not title and not caption:
        return shown
    lines = next(note.text for note in fig.layout.annotations if note.name == "caption").count("<br>") + 1
    above = _HEAD + _LINE * fig.layout.title.text.count("<br>") if title else 0
    _add_room(shown, -above, -_CAPTION_LINE * lines if caption else 0)
    shown.update_annotations(visible=False, selector=dict(name="caption"))
    return shown.update_layout(width=None, autosize=True, title=dict(font=_HIDDEN))


def heading(fig: go.Figure) -> str:
    """The title of a figure as HTML, with the colours of text that figures on this page take."""
    look = "font-weight:600;font-size:15px;line-height:1.4;margin:8px 12px 2px;max-width:120ch"
    title = _markup(words(fig)[0])
    return PAGE_STYLE + (f"<div class='srcid-title' style='{look};{_INHERIT}1,inherit)'>{title}</div>" if title else "")


def small_print(fig: go.Figure) -> str:
    """The caption of a figure as HTML."""
    look = "font-size:12px;line-height:1.45;margin:0 12px 12px;max-width:150ch"
    caption = _markup(words(fig)[1])
    return f"<div class='srcid-caption' style='{look};{_INHERIT}2,inherit)'>{caption}</div>" if caption else ""


def _markup(text: str) -> str:
    """Text of a figure as HTML: names from outside stay text, plotly's plain marks marks, numbers whole."""
    whole = re.sub(r"\[[^\[\]a-z]+\]|\d %", lambda found: found[0].replace(" ", "\xa0"), html.unescape(text))
    return re.sub(r"&lt;(/?(?:b|i|sub|sup))&gt;", r"<\1>", html.escape(whole))


def picture(fig: go.Figure) -> go.Figure:
    """A copy of a figure for a still picture: dark text on white, readable on light and dark pages alike."""
    import json

    copy = go.Figure(json.loads(fig.to_json().replace(INK, DARK)), skip_invalid=True)
    return copy.update_layout(paper_bgcolor="white", plot_bgcolor="white", width=copy.layout.width or WIDTH)


def write_page(fig: go.Figure, path: str | Path) -> None:
    """Write a figure as an HTML file that opens offline."""
    from plotly.offline import get_plotlyjs

    name = html.escape(words(fig)[0] or "Figure")
    scripts = [get_plotlyjs(), DRAW]
    data = figure_data({"figure": outside(fig).to_plotly_json()}, CONFIG)
    head = f"<!doctype html><html><head>{policy(scripts)}<meta charset='utf-8'><title>{name}</title></head><body>"
    drawn = "".join(f"<script>{script}</script>" for script in scripts)
    page = f"{head}{heading(fig)}{place('figure')}{small_print(fig)}{data}{drawn}</body></html>"
    Path(path).write_text(page, encoding="utf-8")


def _show(fig: go.Figure) -> None:
    """What a notebook does with a figure: its title, the figure, its caption; of one that draws nothing, the words."""
    from IPython.display import display

    if not pio.renderers.render_on_display:
        return
    title, caption = words(fig)
    if title:
        display({"text/html": heading(fig), "text/plain": title}, raw=True)
    if fig.data or not title:
        pio.show(outside(fig))
    if caption:
        display({"text/html": small_print(fig), "text/plain": caption}, raw=True)


def _show_in_notebooks() -> None:
    from IPython import get_ipython

    if (shell := get_ipython()) is not None:
        shell.display_formatter.ipython_display_formatter.for_type(go.Figure, _show)


def blanks(values: np.ndarray) -> list:
    """Return nested lists with None for NaN, which live widgets cannot send."""
    return np.where(np.isfinite(values), values.astype(object), None).tolist()


def empty_figure(reason: str) -> go.Figure:
    """Return a small figure that says why there is nothing to draw."""
    fig = go.Figure()
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False)
    return finish(fig, reason, "", height=20, bottom=10)


def figure_or_reason(draw: Callable[[], go.Figure]) -> go.Figure:
    """Return what ``draw`` makes, or where it raises a ValueError a small figure that says why."""
    try:
        return draw()
    except ValueError as error:
        return empty_figure(str(error))
