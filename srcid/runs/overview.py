"""All runs together: the one that finished last, and a table to compare them."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from srcid.params import ParameterError, suggest
from srcid.runs.folders import Run, RunError, plain, root
from srcid.runs.grid import expand
from srcid.values import shorten

TRAINING = "02_train"  # the notebook whose runs the others look into


class RunWarning(UserWarning):
    """A folder among the runs that is damaged or foreign, and was left out."""


def latest(notebook: str) -> Run:
    """Return the run of ``notebook`` that finished last, whatever the clock said.

    Raises:
        RunError: there is none.
    """
    every = [(run, run.status) for run in _readable({})]
    done = [
        (_place(status), run)
        for run, status in every
        if status["notebook"] == notebook and status["status"] == "finished"
    ]
    if not done:
        raise RunError(f"no finished run of {notebook} in {root()}; make one: python -m srcid run {notebook}")
    return max(done, key=lambda entry: entry[0])[1]


def table(notebook: str | None = None, where: Mapping[str, Any] | None = None) -> Any:
    """Return all runs as a pandas DataFrame, newest last: status, parameters that differ, scores.

    A parameter is shown if runs of the same notebook differ in it; it is None where a notebook does not have it.

    Args:
        notebook: only its runs.
        where: only runs with these parameters (also those of the notebook, such as ``preset``) or this ``status``;
            several values as in a sweep (:func:`expand`): ``{"quantizer": "vq,rvq2", "seed": "0..2"}``.

    Raises:
        ParameterError: no run has such a parameter, or ``where`` cannot be read.
    Folders that are damaged or no runs are left out with a :class:`RunWarning`; ``table().attrs["skipped"]``
    names them with the reason.
    """
    import pandas as pd

    skipped: dict[str, str] = {}
    rows = []
    wanted, known = expand(where or {}), set()
    for run in _readable(skipped):
        status = run.status
        if notebook in (None, status["notebook"]):
            facts = {**status.get("values", {}), **run.params, "status": _summary(run, status)["status"]}
            known |= facts.keys()
            if not any(all(name in facts and _same(facts[name], v) for name, v in cell.items()) for cell in wanted):
                continue
            scores = run.read("scores.json") if (run.folder / "scores.json").exists() else {}
            rows.append((_summary(run, status), run.params, {f"score/{k}": v for k, v in scores.items()}))
    for name, reason in skipped.items():
        warnings.warn(f"runs/{name} left out: {reason}", RunWarning, stacklevel=2)
    if unknown := [name for cell in wanted[:1] for name in cell if name not in known and known]:
        problems = [f"no run has a parameter {shorten(name)}{suggest(name, sorted(known))}" for name in unknown]
        raise ParameterError("runs cannot be chosen:", problems)
    same: dict[str, list[Mapping[str, Any]]] = {}
    for about, params, _ in rows:
        same.setdefault(about["notebook"], []).append(params)
    differing = list(dict.fromkeys(key for together in same.values() for key in _differing(together)))
    frame = pd.DataFrame([about | {k: params.get(k) for k in differing} | scores for about, params, scores in rows])
    for key in differing:
        if not all(key in params for _, params, _ in rows):  # pandas would turn whole numbers into fractions
            frame[key] = pd.Series([params.get(key) for _, params, _ in rows], dtype=object)
    if rows:
        frame = frame.sort_values("started", kind="stable", na_position="first").reset_index(drop=True)
    frame.attrs["skipped"] = skipped
    return frame


def _same(value: Any, wanted: Any) -> bool:
    """Whether a value of a run is the one wanted, which may be given as text."""
    if isinstance(wanted, str) and not isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError):
            wanted = ast.literal_eval({"true": "True", "false": "False"}.get(wanted, wanted))
    return value == plain(wanted)


def _readable(skipped: dict[str, str]) -> Iterator[Run]:
    """All runs, by name; what cannot be read is put into ``skipped`` with the reason."""
    for path in sorted(root().iterdir()) if root().is_dir() else []:
        if path.name.startswith(".") or not path.is_dir():
            continue
        try:
            run = Run.open(path)
            run.read("params.json")
            if (path / "scores.json").exists():
                run.read("scores.json")
            yield run
        except RunError as error:
            skipped[path.name] = str(error)


def _differing(several: list[Mapping[str, Any]]) -> list[str]:
    """Names that do not have the same value in all of ``several`` parameters."""
    seen: dict[str, set[str]] = {name: set() for params in several for name in params}
    for name, values in seen.items():
        values |= {json.dumps(params[name], sort_keys=True) if name in params else "" for params in several}
    return [name for name, values in seen.items() if len(values) > 1]


def _summary(run: Run, status: Mapping[str, Any]) -> dict[str, Any]:
    state, begun, ended = status.get("status"), status.get("started"), status.get("ended")
    if state == "running" and status.get("host") == platform.node() and not _alive(status.get("pid")):
        state = "interrupted"
    seconds = status.get("seconds")
    if begun and ended and not isinstance(seconds, int | float):
        seconds = round((datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds(), 1)
    return dict(run=run.name, notebook=status.get("notebook"), status=state, started=begun, seconds=seconds)


def _place(status: Mapping[str, Any]) -> tuple[int, str]:
    sequence = status.get("sequence")
    return sequence if type(sequence) is int else 0, status["ended"]


def _alive(pid: int | None) -> bool:
    try:
        os.kill(int(pid or 0), 0) if pid else None
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return bool(pid)
