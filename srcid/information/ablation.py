"""Runs that differ in where CLUB is on: what was measured of each beside what its codes are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from srcid.information.disentanglement import Leak, Measurements

ESTIMATORS = ("infonce", "leave-one-out", "club-exact")
SETTINGS = {(): "on in all layers", (1,): "off in layer 1", (2,): "off in layer 2", (1, 2): "off in both"}


def ablation_records(
    directions: pd.DataFrame,
    params: pd.DataFrame,
    measured: Mapping[str, Measurements],
    leaks: Mapping[str, Sequence[Leak]] | None = None,
    representation: str = "all",
    metrics: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Put each run's diagnostics and its cross-modal scores into one record.

    Args:
        directions, params: frames of :func:`srcid.runs.collect`.
        measured: of each run, I(z; s) of its layers and modalities (:func:`within`).
        leaks: of each run, probes where factors do not belong.
        representation: whose scores are taken.
        metrics: another column of ``directions`` than ``score``, by task.

    Returns:
        a dict a run: ``run``, ``method``, ``family``, ``setting``, ``seed``; ``mi/<estimator>/<layer>``, nats, mean
        over modalities; ``leak/shared`` and ``leak/private``, points of accuracy above chance, mean over places;
        ``score/<task>``, percent, mean over directions to another modality. NaN where something is missing.
    """
    records = []
    for name, found in measured.items():
        about = params.loc[name]
        off = tuple(about.get("club_off") or ())
        record = {"run": name, "method": about["method"], "family": about["family"], "seed": int(about["seed"])}
        record["setting"] = SETTINGS.get(off, f"off in {', '.join(map(str, off))}")
        for layer in sorted({pair.layer for pair in (*found.brackets, *found.missing)}):
            for estimator in ESTIMATORS:
                record[f"mi/{estimator}/{layer}"] = _mean(found.values(estimator, layer))
        for kind, private in (("shared", False), ("private", True)):
            wrong = [v.probe for v in (leaks or {}).get(name, ()) if not v.belongs and v.private == private]
            record[f"leak/{kind}"] = _mean([100 * (p.score - p.chance) for p in wrong if p.metric != "r2"])
        mine = directions[(directions["run"] == name) & (directions["representation"] == representation)]
        for task, part in mine[~mine["same"].astype(bool)].groupby("task", sort=False):
            record[f"score/{task}"] = float(part[(metrics or {}).get(task, "score")].mean())
        records.append(record)
    order = list(SETTINGS.values())
    return sorted(records, key=lambda r: (order.index(r["setting"]) if r["setting"] in order else 9, r["run"]))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
