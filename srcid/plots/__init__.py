"""Drawing: a result object or arrays in, a plotly Figure out. Nothing here computes a result.

The names below are loaded on first use, so that importing this package does not import plotly.
"""

import importlib
from typing import Any

_HOME = {
    "style": ("apply_style", "modality_colors", "code_color", "CONFIG", "GENERAL", "SPECIFIC", "INK"),
    "data": ("store_overview", "label_timelines", "clip_view"),
    "media": ("ClipMedia", "clip_media"),
    "training": ("training_curves", "update_training_curves"),
    "codes": ("code_strip", "usage_overview"),
    "scores": ("score_figure",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'srcid.plots' has no attribute '{name}'")
    return getattr(importlib.import_module(f"srcid.plots.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
