"""What can be said of trained codes: their use, meaning, maps, exemplars, and the information they carry.

Arrays or a CodeTable in, a small frozen result with its parameters out; nothing here draws, and nothing reads
a model. The names below are loaded on first use, so that importing this package is cheap.
"""

import importlib
from typing import Any

_HOME = {
    "reading": ("DiagnosticsError", "StepLabel", "Symbols", "label_names", "label_of", "symbols_of"),
    "usage": ("Usage", "Sharing", "Growth", "code_usage", "sharing", "growth"),
    "agreement": ("Pair", "Agreement", "Confusion", "code_agreement", "confusion"),
    "meaning": ("Association", "association"),
    "novelty": ("Addition", "addition"),
    "points": ("Points", "feature_points", "codebook_points", "stratified"),
    "graph": ("Graph", "Quality", "neighbour_graph", "mixing", "quality_of"),
    "projection": ("Projection", "project"),
    "exemplars": ("CodeIndex", "CodeCard", "Exemplar"),
    "information": ("Bracket", "Estimate", "InformationError", "Settings",
                    "bracket", "club", "infonce", "ksg", "plugin"),
    "calibration": ("Calibration", "calibrate"),
    "leakage": ("Leakage",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'srcid.diagnostics' has no attribute '{name}'")
    return getattr(importlib.import_module(f"srcid.diagnostics.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
