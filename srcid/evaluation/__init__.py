"""Judging codes by what they are good for: frozen probes, retrieval, and the tables that report them.

Everything here reads a code table (:class:`~srcid.evaluation.inputs.Codes`), never a model. Names are
imported where they are first used, so that ``import srcid.evaluation`` loads neither torch nor pandas.
"""

from srcid.lazy import attach

_HOMES = {
    "metrics": (
        "EvaluationError", "MicroScores", "clip_accuracy", "clip_class", "confusion", "epoch_scores",
        "event_f1", "micro_scores", "per_class_scores", "segment_f1", "threshold_curve", "with_background",
    ),
    "intervals": ("bootstrap_weights", "percentile_interval", "t_interval"),
    "inputs": ("Codes", "Representation", "read_inputs"),
    "tasks": ("localisation_loss",),
    "joined": ("JoinedCodes", "Part", "cross_dataset", "never_paired", "one_then_more", "unpaired"),
    "suite": ("TaskTables", "fit_tasks", "read_stores", "task_tables"),
    "probes": ("ProbeResults", "ProbeScore", "fit_probes"),
    "retrieval": ("Gallery", "RetrievalResults", "RetrievalScore", "code_retrieval", "gallery", "retrieve"),
    "details": (
        "ClassScores", "Confusion", "ThresholdCurve", "Timeline", "class_confusion", "class_scores",
        "threshold_calibration", "timelines",
    ),
    "layouts": ("table_three", "table_two"),
    "comparison": (
        "ComparisonError", "ablation", "comparison_table", "holm", "means", "methods_of", "paired", "quality",
        "score_matrix",
    ),
    "claims": ("Claim", "Verdict", "judge", "paper_claims", "verdict_frame"),
    "paper": ("paper_scores",),
    "parts": ("PARTS", "part_claims", "probe_parts"),
    "tables": ("paper_table", "probe_frame", "probe_summary", "retrieval_frame"),
}  # fmt: skip

__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
