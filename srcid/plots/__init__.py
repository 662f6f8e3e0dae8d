"""Drawing: a result object or arrays in, a plotly Figure out. Nothing here computes a result.

The names below are loaded on first use, so that importing this package does not import plotly.
"""

from srcid.lazy import attach

_HOMES = {
    "style": (
        "apply_style",
        "modality_colors",
        "code_color",
        "figure_or_reason",
        "CONFIG",
        "GENERAL",
        "SPECIFIC",
        "INK",
    ),
    "data": ("store_overview", "label_timelines", "clip_view"),
    "media": ("ClipMedia", "clip_media", "CardMedia", "card_media"),
    "cards": ("code_card", "code_profile"),
    "tiles": ("exemplar_tiles",),
    "training": ("training_curves", "update_training_curves"),
    "usage": ("rank_frequency", "sharing_map", "usage_growth", "usage_overview", "usage_summary"),
    "agreement": ("agreement_figure", "confusion_map", "part_figure"),
    "meaning": ("addition_figure", "association_map", "code_map", "mark_code"),
    "strips": ("StripError", "code_strip", "code_strips"),
    "ablation": ("ablation_figure",),
    "comparison": ("cost_figure", "forest_figure", "reconstruction_figure", "tradeoff_figure"),
    "scores": ("score_figure",),
    "information": ("training_information", "bracket_figure", "estimate_card"),
    "calibration": ("calibration_figure",),
    "disentanglement": ("leak_figure", "settings_figure", "relation_figure"),
    "classes": ("class_scores_figure", "confusion_figure", "threshold_figure"),
    "gallery": ("gallery_media", "retrieval_gallery"),
    "timelines": ("timeline_figure",),
    "maps": ("map_figure",),
    "coloring": ("Coloring", "color_by"),
}

__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
