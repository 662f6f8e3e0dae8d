"""Colours of many points by what is known of them: an index into a palette each, and a key that explains it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from srcid.style import GENERAL, INK, code_color, modality_colors

# Distinct on white and on dark grey, also with the common forms of colour blindness as far as ten can be; after
# Petroff (2021), "Accessible color sequences for data visualization", its greys replaced. Not Okabe and Ito's:
# those mean modalities.
CATEGORIES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#2e9e6b", "#e76300", "#b9ac70", "#92dadd", "#a96b59", "#e377c2",
)  # fmt: skip
REST = "#9a9a9a"
_USERS = {"several": "#b3b3b3", "all": INK, "none": "#e6c619"}  # of a code vector, beside the modalities
LEVELS = 12  # shades of a numeric column
MOST_CODES = 512  # entries of a palette of codes; beyond that codes share colours
PLAIN = ("", "none", "background")


@dataclass(frozen=True)
class Coloring:
    """Colours of points.

    Attributes:
        index: place of each point in the palette, int ``[n]``.
        palette: colours.
        names: what each colour means; empty for those a key does not list.
        note: said after the key, or empty.
    """

    index: np.ndarray
    palette: tuple[str, ...]
    names: tuple[str, ...]
    note: str = ""

    def marker(self) -> dict[str, Any]:
        """Properties of a plotly marker: numbers and a stepped scale, far lighter than a colour string a point."""
        edges = np.repeat(np.linspace(0, 1, len(self.palette) + 1), 2)[1:-1]
        scale = [[float(edge), color] for edge, color in zip(edges, np.repeat(self.palette, 2), strict=True)]
        return dict(color=self.index, colorscale=scale, cmin=-0.5, cmax=len(self.palette) - 0.5, showscale=False)

    def key(self, width: int, lines: int = 3) -> str:
        """The key as text with coloured dots, wrapped at ``width`` letters."""
        entries = [(name, color) for name, color in zip(self.names, self.palette, strict=True) if name]
        short = [textwrap.shorten(name, 18, placeholder="…") or name[:18] for name, _ in entries]
        rows: list[list[str]] = [[]]
        room = width
        for name, (_, color) in zip(short, entries, strict=True):
            if len(name) + 4 > room and rows[-1]:
                rows.append([])
                room = width
            rows[-1].append(f"<span style='color:{color}'>●</span> {name}")
            room -= len(name) + 4
        if len(rows) > lines:
            rows = rows[:lines]
            rows[-1][-1] += " …"
        return "<br>".join([*("   ".join(row) for row in rows if row), *([self.note] if self.note else [])])


def color_by(
    columns: Mapping[str, np.ndarray], column: str, modalities: Sequence[str], order: Sequence[str] = ()
) -> Coloring:
    """Colour points by a column; points without that column become grey.

    Modalities and codes have their own colours, truth values orange and grey, numbers twelve shades, and any
    other column one colour for each of its ten most frequent values.

    Args:
        columns: what is known of the points, ``[n]`` each.
        modalities: all modalities of the table, which fixes their colours.
        order: of classes, as the data name them; values that are not among these follow, sorted.
    """
    if column not in columns:
        size = len(next(iter(columns.values()), ()))
        return Coloring(np.zeros(size, np.uint8), (INK,), ("",), f"no {column} is known here")
    values = np.asarray(columns[column])
    if column == "modality":
        colors = modality_colors(modalities) | _USERS
        found = _listed(values, {name: color for name, color in colors.items() if (values == name).any()})
        return found if "uses" not in columns else replace(found, names=tuple(map(_user, found.names)))
    if column in ("code", "symbol"):
        return _codes(columns, values)
    if values.dtype == bool:
        index = values.astype(np.uint8)
        names = ("same code in all", "codes differ") if column == "agreement" else (column, f"not {column}")
        return Coloring(index, ("#8a8a8a", GENERAL), names[::-1])
    if np.issubdtype(values.dtype, np.number):
        distinct = np.unique(values)
        if len(distinct) > 1 and column != "layer" and column != "stage":
            return _numbers(values.astype(float))
    values = values.astype(str)
    names, counts = np.unique(values, return_counts=True)
    if all(re.match(r"-?[\d.]+(e[+-]?\d+)? to ", name) for name in names if name) and len(names) > 1:
        ordered = sorted((name for name in names if name), key=lambda name: float(name.split(" to ")[0]))
        shades = _shades(len(ordered))
        return _listed(values, dict(zip(ordered, shades, strict=True)))
    telling = [name for name in names[np.argsort(-counts, kind="stable")] if name not in PLAIN]
    place = {name: i for i, name in enumerate(order)}
    kept = sorted(telling[: len(CATEGORIES)], key=lambda name: (place.get(name, len(place)), _natural(name)))
    return _listed(values, dict(zip(kept, CATEGORIES, strict=False)))


def colorable(columns: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Columns worth colouring by: those with more than one value."""
    first = [name for name in ("modality", "label", "code", "agreement", "split", "step", "clip") if name in columns]
    rest = [name for name in columns if name not in first and name != "symbol"]
    twins = [name for name in rest if "label" in columns and np.array_equal(columns[name], columns["label"])]
    names = [name for name in (*first, *rest) if name not in twins]
    return tuple(name for name in names if (columns[name] != columns[name][:1]).any())


def _user(name: str) -> str:
    """What the key says of the modalities that use a code."""
    return {"several": "several", "all": "all modalities", "none": "unused"}.get(name, f"{name} only")


def _listed(values: np.ndarray, colors: Mapping[str, str]) -> Coloring:
    """One colour a listed value; the rest is grey."""
    names = list(colors)
    place = {name: i for i, name in enumerate(names)}
    distinct, inverse = np.unique(values.astype(str), return_inverse=True)
    index = np.array([place.get(name, len(names)) for name in distinct], dtype=np.int16)[inverse.ravel()]
    others = [name for name in distinct if name not in place]
    if not others:
        return Coloring(index, tuple(colors.values()), tuple(names))
    rest = others[0] or "none" if len(others) == 1 else "other"
    return Coloring(index, (*colors.values(), REST), (*names, rest))


def _codes(columns: Mapping[str, np.ndarray], values: np.ndarray) -> Coloring:
    layers = np.unique(columns["layer"]) if "layer" in columns else np.array([1])
    layer = int(layers[0]) if len(layers) == 1 else 1
    distinct, inverse = np.unique(values, return_inverse=True)
    palette = tuple(code_color(int(code), layer) for code in distinct[:MOST_CODES])
    index = (inverse.ravel() % MOST_CODES).astype(np.int16)
    return Coloring(index, palette, ("",) * len(palette), f"{len(distinct):,} codes, one colour each")


def _numbers(values: np.ndarray) -> Coloring:
    finite = np.isfinite(values)
    low, high = (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0.0, 1.0)
    distinct = len(np.unique(values[finite]))
    levels = min(LEVELS, max(distinct, 1))
    place = (np.where(finite, values, low) - low) / ((high - low) or 1.0) * (levels - 1)
    named = {0: low, levels // 2: low + (high - low) * (levels // 2) / max(levels - 1, 1), levels - 1: high}
    whole = (values[finite] % 1 == 0).all()
    names = tuple((f"{named[i]:,.0f}" if whole else f"{named[i]:.3g}") if i in named else "" for i in range(levels))
    return Coloring(np.rint(place).astype(np.uint8), _shades(levels), names)


def _shades(count: int) -> tuple[str, ...]:
    """Evenly spaced shades, dark to light, that read on white and on dark grey."""
    from plotly.colors import sample_colorscale

    return tuple(sample_colorscale("Plasma", np.linspace(0.12, 0.88, max(count, 2)))[:count])


def _natural(name: str) -> tuple:
    """Sorts "2" before "10"."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))
