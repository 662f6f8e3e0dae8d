"""What every figure of the project keeps to."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import plotly.io as pio

from srcid.style import INK, WIDTH, heading, outside, picture, small_print, words


def title(fig: go.Figure) -> str:
    """The title of a figure, on one line."""
    return words(fig)[0]


def caption(fig: go.Figure) -> str:
    """The small print below a figure, on one line."""
    return words(fig)[1]


def contrast(a: str, b: str) -> float:
    """Contrast of two ``#rrggbb`` colours as WCAG 2 defines it, 1 to 21; 4.5 are needed for text (AA)."""

    def luminance(color: str) -> float:
        c = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        c = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in c]
        return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def check_house_style(fig: go.Figure) -> None:
    """A finding with a number above, parameters and source below, for both themes; kept whole, never uploaded."""
    assert len(title(fig)) > 15 and any(letter.isdigit() for letter in title(fig))
    assert len(caption(fig)) > 15
    assert fig.layout.template.layout.paper_bgcolor == fig.layout.template.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert 100 < fig.layout.height < 1600
    assert any(axis.title.text for axis in fig.select_xaxes())
    assert {trace.type for trace in fig.data} <= {"scatter", "bar", "heatmap"}  # no WebGL context is taken
    assert len(go.Figure(json.loads(fig.to_json())).data) == len(fig.data) > 0
    check_page(fig)
    check_picture(fig)
    live = go.FigureWidget(outside(fig)).get_state(["_widget_data", "_widget_layout"])
    json.dumps(live, allow_nan=False, default=lambda buffer: f"{len(buffer)} bytes")
    assert fig._config["showSendToCloud"] is False
    bundle = pio.renderers["plotly_mimetype"].to_mimebundle(fig.to_dict())
    config = bundle["application/vnd.plotly.v1+json"]["config"]
    assert config["showSendToCloud"] is False and config["responsive"] and config["displayModeBar"] == "hover"
    assert config["toImageButtonOptions"]["format"] == "svg"


def check_page(fig: go.Figure) -> None:
    """On a page: as wide as there is room; title and caption are text around the plots, which keep their height."""
    shown = outside(fig)
    assert shown.layout.width is None and shown.layout.template.layout.width is None and shown.layout.autosize
    said, told = (text.replace("\xa0", " ") for text in (heading(fig), small_print(fig)))  # numbers break in no line
    assert title(fig)[:10] in said and caption(fig)[:10] in told
    assert shown.layout.title.font.color == "rgba(0,0,0,0)"
    assert not next(n for n in shown.layout.annotations if n.name == "caption").visible
    own, whole = shown.layout, fig.layout
    assert own.height - own.margin.t - own.margin.b == whole.height - whole.margin.t - whole.margin.b
    assert 0 <= own.margin.t < whole.margin.t and 0 <= own.margin.b < whole.margin.b
    assert words(shown) == words(fig)


def check_picture(fig: go.Figure) -> None:
    """In a picture: title and caption in lines that fit whatever font there is, dark grey on white."""
    lines = [(line, 0.6 * fig.layout.title.font.size) for line in fig.layout.title.text.split("<br>")]
    found = next(n for n in fig.layout.annotations if n.name == "caption")
    lines += [(line, 0.56 * found.font.size) for line in found.text.split("<br>")]
    assert all(len(line) * letter <= WIDTH - 12 for line, letter in lines), lines
    still = picture(fig)
    assert still.layout.paper_bgcolor == "white" and still.layout.width == fig.layout.width == WIDTH
    assert INK not in still.to_json() and contrast(still.layout.template.layout.font.color, "#ffffff") > 7
