"""What can be said of trained codes: their use, meaning, maps, exemplars, and the information they carry.

Arrays or a CodeTable in, a small frozen result with its parameters out; nothing here draws, and nothing reads
a model. The names below are loaded on first use, so that importing this package is cheap.
"""

from srcid.lazy import attach

_HOMES = {
    "reading": ("DiagnosticsError", "Several", "StepLabel", "Symbols", "for_each", "label_names", "label_of", "places",
                "symbols_of"),
    "usage": ("Usage", "Sharing", "Growth", "code_usage", "sharing", "growth"),
    "agreement": ("Pair", "Agreement", "Confusion", "code_agreement", "confusion", "part_agreement"),
    "meaning": ("Association", "association"),
    "novelty": ("Addition", "addition"),
    "points": ("Points", "feature_points", "codebook_points", "stratified"),
    "graph": ("Graph", "Quality", "neighbour_graph", "mixing", "quality_of"),
    "projection": ("Projection", "project"),
    "atlas": ("Atlas", "Missing", "quality_table"),
    "linking": ("Links", "Choice"),
    "cards": ("CodeCard", "Exemplar", "Neighbour", "ClassShare", "Companion", "Match"),
    "exemplars": ("CodeIndex",),
    "information": ("Bracket", "Estimate", "InformationError", "Settings",
                    "bracket", "club", "infonce", "ksg", "plugin"),
    "calibration": ("Calibration", "calibrate", "calibrate_factors", "likeness"),
    "leakage": ("Leakage",),
    "disentanglement": ("Comparison", "Leak", "Measurements", "Variable", "measure"),
    "keep": ("Keep",),
    "ranks": ("RankRelation", "rank_relation"),
    "ablation": ("ablation_records",),
}  # fmt: skip

__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
