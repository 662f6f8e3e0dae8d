"""Drawing: a result object or arrays in, a plotly Figure out. Nothing here computes a result.

The names below are loaded on first use, so that importing this package does not import plotly.
"""

from srcid.lazy import attach

_HOMES = {
    "style": ("apply_style", "modality_colors", "code_color", "CONFIG", "GENERAL", "SPECIFIC", "INK"),
    "data": ("store_overview", "label_timelines", "clip_view"),
    "media": ("ClipMedia", "clip_media"),
    "training": ("training_curves", "update_training_curves"),
    "codes": ("code_strip", "usage_overview"),
    "scores": ("score_figure",),
}

__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
