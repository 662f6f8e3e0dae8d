"""Live views for JupyterLab. They wire: results are computed elsewhere, figures are drawn in :mod:`srcid.plots`.

The names below are loaded on first use, so that importing this package is cheap.
"""

from srcid.lazy import attach

_HOMES = {
    "common": ("Guard", "has_front_end", "redraw"),
    "training": ("LiveTraining", "duration"),
    "clips": ("ClipBrowser",),
    "information": ("InformationBrowser",),
    "explorer": ("CodeExplorer",),
    "strips": ("ClipCodes",),
    "gallery": ("RetrievalGallery", "sound_rows"),
    "usage": ("UsageBrowser",),
    "maps": ("LinkedMaps",),
}

__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
