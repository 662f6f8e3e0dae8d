"""One visual identity: colours with a fixed meaning, a template for light and dark pages, captions.

Meaning of colours, everywhere: a modality keeps its colour (:func:`modality_colors`); grey is what belongs to
all modalities; :data:`GENERAL` and :data:`SPECIFIC` tell the halves of a layer apart. Layers differ by dash
or shade.
"""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

# Okabe and Ito's colour-blind-safe palette, https://jfly.uni-koeln.de/color. The first four keep a contrast
# of about 3:1 or more on white and on JupyterLab's dark grey alike; yellow and black do not.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GENERAL, SPECIFIC = "#E69F00", "#56B4E9"
INK = "#787878"  # the grey that is equally far from white and from #111111: 4.4:1
FAINT = "rgba(128,128,128,0.25)"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
WIDTH = 960  # pixels; fixed, so that a static picture and the notebook show the same thing

# 'showSendToCloud' removes the button that would upload the figure
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": False}


def apply_style() -> None:
    """Make the ``srcid`` template the default and take the upload button from every renderer; idempotent."""
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
            width=WIDTH,
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
            renderer.scale = 1.5  # sharp enough for a page, small enough for a committed notebook


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


def ink_on(color: str) -> str:
    """Return black or white, whichever reads better on a ``#rrggbb`` colour (WCAG relative luminance)."""
    if not color.startswith("#"):
        return INK
    linear = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in linear]
    return "#ffffff" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.18 else "#000000"


def fade(color: str, alpha: float) -> str:
    """Return a ``#rrggbb`` colour at opacity ``alpha``."""
    return f"rgba({int(color[1:3], 16)},{int(color[3:5], 16)},{int(color[5:7], 16)},{alpha:g})"


def heat_scale(color: str, signed: bool) -> list[list]:
    """Return a colour scale from transparent to ``color``; signed values come from grey over transparent."""
    if signed:
        return [[0, INK], [0.5, fade(color, 0.0)], [1, color]]
    return [[0, fade(color, 0.0)], [1, color]]


def finish(
    fig: go.Figure, title: str, caption: str, height: int, top: int = 60, bottom: int = 60, left: int = 60
) -> go.Figure:
    """Give a figure its title, its caption below the plots, its size, and the template.

    ``top``, ``bottom`` and ``left`` are margins in pixels, without further title lines and the caption.
    """
    apply_style()
    title_lines = textwrap.wrap(title, 132) or [""]
    lines = textwrap.wrap(caption, 180)
    top += 19 * (len(title_lines) - 1)
    below = bottom + 14 * len(lines)
    fig.update_layout(
        template="srcid",
        title=dict(
            text="<br>".join(title_lines),
            y=1,
            yref="container",
            yanchor="top",
            pad=dict(t=12 + 12 * (len(title_lines) - 1), l=12),
        ),
        height=height + top + below,
        width=WIDTH,
        margin=dict(t=top, b=below, l=left),
    )
    if lines:
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
            font=dict(size=10.5, color=INK),
        )
    fig._config = {**(fig._config or {}), **CONFIG}
    return fig


def legend_line(fig: go.Figure) -> go.Figure:
    """Put the legend in a line between title and plots; call it after :func:`finish` with a high ``top``."""
    lines = fig.layout.title.text.count("<br>")
    place = 1 - (40 + 19 * lines) / fig.layout.height
    return fig.update_layout(legend=dict(orientation="h", x=0, y=place, yref="container", yanchor="top"))


def panel_titles(fig: go.Figure) -> None:
    """Set the titles of subplots small and flush left with their axes; call it before other annotations."""
    for axis, note in zip(fig.select_xaxes(), fig.layout.annotations, strict=False):
        note.update(x=axis.domain[0], xanchor="left", font=dict(size=12.5, color=INK))


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
