"""What every figure of the project keeps to."""

from __future__ import annotations

import json

import plotly.graph_objects as go
import plotly.io as pio


def caption(fig: go.Figure) -> str:
    """The small print below a figure, on one line."""
    return next(note.text for note in fig.layout.annotations if note.name == "caption").replace("<br>", " ")


def check_house_style(fig: go.Figure) -> None:
    """A finding with a number above, parameters and source below, for both themes; kept whole, never uploaded."""
    assert len(fig.layout.title.text) > 15 and any(letter.isdigit() for letter in fig.layout.title.text)
    assert len(caption(fig)) > 15
    assert fig.layout.template.layout.paper_bgcolor == fig.layout.template.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert fig.layout.width == 960 and 100 < fig.layout.height < 1600
    assert any(axis.title.text for axis in fig.select_xaxes())
    assert {trace.type for trace in fig.data} <= {"scatter", "bar", "heatmap"}  # no WebGL context is taken
    assert len(go.Figure(json.loads(fig.to_json())).data) == len(fig.data) > 0
    live = go.FigureWidget(fig).get_state(["_widget_data", "_widget_layout"])
    json.dumps(live, allow_nan=False, default=lambda buffer: f"{len(buffer)} bytes")
    assert fig._config["showSendToCloud"] is False
    bundle = pio.renderers["plotly_mimetype"].to_mimebundle(fig.to_dict())
    assert bundle["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False
