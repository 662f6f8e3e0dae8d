"""What the later parts of a code add, and whether they add it as shared codes or by where their vectors lie.

Probes read vectors. Two modalities that choose different codes with close vectors are alike to a probe, two that choose
the same code always are. To exchange the vectors among the codes of a part takes the first away and leaves the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from srcid.evaluation.claims import Claim
from srcid.evaluation.inputs import Codes
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.tables import probe_summary
from srcid.params import EvaluationParams

if TYPE_CHECKING:
    import pandas as pd

_ANEW = ("stage1", "exchanged")  # what runs do not score by themselves
PARTS = ("all", "only1", *_ANEW)


def probe_parts(
    tables: Mapping[str, Codes],
    directions: pd.DataFrame,
    params: pd.DataFrame,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Fit probes that read the first part of each run's code alone, or later parts with vectors exchanged.

    Args:
        tables: code table by run.
        directions: what the runs scored, of these runs and others (:func:`srcid.runs.collect`); the same tasks are
            scored again.
        params: a row a run with its parameters; its own probe settings are used.
        progress: called with the name of each run before its probes are fitted.

    Returns:
        the rows of ``directions`` of these runs, and behind them those of the representations ``stage1`` and
        ``exchanged`` that the run's code has (:meth:`srcid.evaluation.inputs.Representation.named`).
    """
    import pandas as pd

    frames = []
    for run, table in tables.items():
        if progress is not None:
            progress(run)
        mine = directions[directions["run"] == run]
        settings = {name: params.at[run, name] for name in EvaluationParams.model_fields}
        found = probe_summary(fit_probes(table, EvaluationParams(**settings), list(dict.fromkeys(mine["task"])), _ANEW))
        about = {name: mine[name].iloc[0] for name in ("run", "method", "seed", "data")}
        frames += [mine, found.assign(**about)] if len(found) else [mine]
    return pd.concat(frames, ignore_index=True)


def part_claims(methods: Iterable[str], asked: Iterable[str]) -> list[Claim]:
    """Return what to ask of each method: do later parts help other modalities, and do they without their geometry?

    Args:
        methods: labels, those of representations included (``srcid vq (only1)``).
        asked: labels of the methods to ask about, without representation.
    """
    there = set(methods)
    claims = []
    for method in asked:
        first = next((name for name in (f"{method} (stage1)", f"{method} (only1)") if name in there), None)
        exchanged = f"{method} (exchanged)"
        if first is None or exchanged not in there:
            continue
        questions = {
            "later parts help m → n": (method, first),
            "with vectors exchanged, later parts help m → n": (exchanged, first),
            "later parts help m → n more with their own vectors": (method, exchanged),
        }
        claims += [Claim(f"{method}: {text}", *pair, source="parts of a code") for text, pair in questions.items()]
    return claims
