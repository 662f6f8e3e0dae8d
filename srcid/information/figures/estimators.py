"""How estimators of information look in every figure: their shapes, their axis of nats, their legend.

Axes of nats are linear around 0 and logarithmic beyond about 2 nats (the inverse hyperbolic sine of the value),
because one bracket may reach from 0.3 to 300. Ticks and hover texts give nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from srcid.style import INK, fade, legend_line

# one shape an estimator everywhere: bounds point to where the truth lies
SYMBOLS = {
    "infonce": "triangle-right",
    "barber-agakov": "triangle-right",
    "ksg-pca": "circle",
    "ksg-cca": "diamond",
    "ross": "circle",
    "plug-in": "circle",
    "leave-one-out": "triangle-left",
    "club-exact": "square",
    "club-categorical": "square",
    "club-sampled": "cross",
    "club-published": "x",
}
MEANING = {"lower": "lower bound", "estimate": "estimate", "upper": "upper bound"}
MAIN = tuple(name for name in SYMBOLS if name not in ("club-sampled", "club-published"))


def squash(nats: Any) -> np.ndarray:
    """Place of a value on an axis of nats."""
    return np.arcsinh(np.asarray(nats, dtype=float))


def nats_ticks(low: float, high: float) -> dict[str, list]:
    """Ticks of such an axis that lie between two values: the coarsest round ones of which there are enough."""
    for digits in ((1, 3), (1, 2, 5)):
        sizes = [digit * 10.0**power for power in range(-1, 5) for digit in digits if digit * 10.0**power >= 0.2]
        sizes = [size for size in sizes if max(abs(low), abs(high)) <= 4 or size >= 1]
        shown = [v for v in sorted({0.0, *sizes, *(-size for size in sizes)}) if low <= v <= high]
        if len(shown) >= 4:
            break
    if len(shown) < 4:  # a short range far from 0
        step = 10.0 ** np.floor(np.log10(max(high - low, 1e-6) / 2))
        shown = (np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step).tolist()
        shown = shown[:: -(-len(shown) // 5)]
    return {"tickvals": squash(shown).tolist(), "ticktext": [f"{v:,.6g}".replace("-", "−") for v in shown]}


def estimator_legend(fig: go.Figure, width: int) -> go.Figure:
    """Put the legend under the title in rows of equal columns."""
    return legend_line(fig).update_layout(legend=dict(entrywidth=width, entrywidthmode="pixels", tracegroupgap=0))


def half(color: str) -> str:
    """The colour at half strength."""
    return fade(color, 0.5)


def pair_color(pair: Any, colors: Mapping[str, str]) -> str:
    """The colour of a pair's modality; grey where it has two."""
    return colors.get(pair.modalities[0], INK) if len(pair.modalities) == 1 else INK


def steps_of_each(count: int) -> str:
    """How many steps of a clip were compared, in words."""
    return "one step of each" if count == 1 else f"{count} steps of each"
