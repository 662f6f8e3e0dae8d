"""All runs together: the one that finished last, and a table to compare them."""

from __future__ import annotations

import ast
import contextlib
import json
import platform
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from srcid.params import ParameterError, suggest
from srcid.runs.folders import Run, RunError, root
from srcid.runs.grid import expand
from srcid.values import plain, shorten

TRAINING = "02_train"  # the notebook whose runs the others look into


class RunWarning(UserWarning):
    """A folder among the runs that is damaged or foreign, and was left out."""


class Entry(NamedTuple):
    """What one run says of itself, read at one moment."""

    run: Run
    status: dict[str, Any]
    params: dict[str, Any]
    scores: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """All its parameters by name: those of the notebook, and the fields of ``Params`` in place of ``options``."""
        values = {name: value for name, value in self.status.get("values", {}).items() if name != "options"}
        return values | self.params


def latest(notebook: str) -> Run:
    """Return the run of ``notebook`` that finished last, whatever the clock said.

    Raises:
        RunError: there is none.
    """
    done = [
        entry for entry in _entries({}) if entry.status["notebook"] == notebook and entry.status["status"] == "finished"
    ]
    if not done:
        raise RunError(f"no finished run of {notebook} in {root()}; make one: python -m srcid run {notebook}")
    return max(done, key=lambda entry: _place(entry.status)).run


def table(notebook: str | None = None, where: Mapping[str, Any] | None = None, also: Sequence[str] = ()) -> Any:
    """Return all runs as a pandas DataFrame, newest last: status, parameters that differ, scores.

    A parameter is shown if runs of the same notebook differ in it; it is None where a notebook does not have it.
    One that has the name of another column is shown as ``parameter/run``.
    Folders that are damaged or no runs are left out with a :class:`RunWarning`; ``table().attrs["skipped"]`` names them
    with the reason. A run that vanishes meanwhile is left out, too.

    Args:
        notebook: only its runs.
        where: only runs with these parameters (also those of the notebook, such as ``preset``) or this ``status``;
            several values as in a sweep (:func:`expand`): ``{"quantizer": "vq,rvq2", "seed": "0..2"}``.
        also: parameters to show though no run differs in them.

    Raises:
        ParameterError: no run has such a parameter or column, or ``where`` cannot be read.
    """
    import pandas as pd

    skipped: dict[str, str] = {}
    every = [entry for entry in _entries(skipped) if notebook in (None, entry.status["notebook"])]
    for name, reason in skipped.items():
        warnings.warn(f"runs/{name} left out: {reason}", RunWarning, stacklevel=2)
    wanted, chosen = expand(where or {}), []
    for entry in every:
        found = entry.facts | {"status": _state(entry.status)}
        if any(all(name in found and _same(found[name], v) for name, v in cell.items()) for cell in wanted):
            chosen.append(entry)
    _check_names(wanted[0], {"status", *(name for entry in every for name in entry.facts)}, every, "parameter")
    same: dict[str, list[Mapping[str, Any]]] = {}
    for entry in chosen:
        same.setdefault(entry.status["notebook"], []).append(entry.facts)
    differing = [key for together in same.values() for key in _differing(together)]
    asked = [name for name in also if any(name in entry.facts for entry in chosen)]
    told = [_summary(entry) for entry in chosen]
    # a parameter named run hides no run's name
    shown = {key: f"parameter/{key}" if key in told[0] else key for key in (*differing, *asked)}
    rows = [
        summary
        | {column: entry.facts.get(key) for key, column in shown.items()}
        | {f"score/{name}": score for name, score in entry.scores.items()}
        for summary, entry in zip(told, chosen, strict=True)
    ]
    frame = pd.DataFrame(rows)
    for key, column in shown.items():
        if not all(key in entry.facts for entry in chosen):  # pandas would turn whole numbers into fractions
            frame[column] = pd.Series([entry.facts.get(key) for entry in chosen], dtype=object)
    if rows:
        frame["seconds"] = frame["seconds"].astype(float)
        frame = frame.sort_values("started", kind="stable", na_position="first").reset_index(drop=True)
        _check_names(also, {*frame, *(name for entry in every for name in entry.facts)}, every, "column")
    frame.attrs["skipped"] = skipped
    return frame


def fitting(frame: Any, width: int) -> str:
    """Return a frame of :func:`table` as text of lines no longer than ``width``.

    Columns that have no room are named below it; names of runs lose their middle before that.
    """
    frame = frame.copy()
    if "started" in frame:
        frame["started"] = frame["started"].str.slice(0, 16).str.replace("T", " ")
    if "run" in frame:
        frame["run"] = [_shortened(name, max(16, width - 14)) for name in frame["run"]]  # 14: the longest status
    order = ["run", "status", *(name for name in frame if name.startswith("score/")), *frame]
    kept, left = [], []
    for name in dict.fromkeys(name for name in order if name in frame):
        together = [column for column in frame if column in (*kept, name)]
        fits = max(map(len, _lines(frame[together]))) <= width
        (kept if fits or not kept else left).append(name)
    text = "\n".join(_lines(frame[[name for name in frame if name in kept]]))
    more = f"and {len(left)} more columns (--columns NAME,...): {', '.join(left)}" if left else ""
    return text + "".join(f"\n{line}" for line in textwrap.wrap(more, width))


def _lines(frame: Any) -> list[str]:
    return frame.to_string(index=False, na_rep="", float_format="{:.4g}".format).splitlines()


def _shortened(text: str, most: int) -> str:
    """``text`` without its middle, if it is longer than ``most``: runs of one sweep differ at the end."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"


def _check_names(names: Iterable[str], known: set[str], every: list[Entry], what: str) -> None:
    wrong = [f"no run has a {what} {shorten(n)}{suggest(n, sorted(known))}" for n in names if n not in known and every]
    ParameterError.check("runs cannot be chosen:", wrong)


def _same(value: Any, wanted: Any) -> bool:
    """Whether a value of a run is the one wanted, which may be given as text."""
    if isinstance(wanted, str) and not isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError):
            wanted = ast.literal_eval({"true": "True", "false": "False"}.get(wanted, wanted))
    return value == plain(wanted)


def folders_in(folder: Path) -> list[Path]:
    """Folders in a folder that may be runs, by name; hidden ones are passed over."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in inside if path.is_dir() and not path.name.startswith(".")]


def read_runs(folders: Iterable[Path], skipped: dict[str, str], read: Callable[[Run], Any]) -> list[Any]:
    """What ``read`` says of each run; what cannot be read goes into ``skipped`` with the reason, unless it is gone."""
    found = []
    for path in folders:
        try:
            found.append(read(Run.open(path)))
        except (RunError, ParameterError) as error:
            if path.exists():
                skipped[path.name] = str(error)
    return found


def _entries(skipped: dict[str, str]) -> list[Entry]:
    def entry(run: Run) -> Entry:
        scores = run.read("scores.json") if (run.folder / "scores.json").exists() else {}
        return Entry(run, run.status, run.params, scores)

    return read_runs(folders_in(root()), skipped, entry)


def _differing(several: list[Mapping[str, Any]]) -> list[str]:
    """Names that do not have the same value in all of ``several`` parameters."""
    seen: dict[str, set[str]] = {name: set() for params in several for name in params}
    for name, values in seen.items():
        values |= {json.dumps(params[name], sort_keys=True) if name in params else "" for params in several}
    return [name for name, values in seen.items() if len(values) > 1]


def state_of(folder: Path) -> str:
    """Status of the run in ``folder``, or ``waiting`` if it has not begun."""
    try:
        state = _state(Run.open(folder).status)
    except RunError:
        return "waiting"
    return "waiting" if state == "created" else state


def _state(status: Mapping[str, Any]) -> str:
    """The status that a run says, or ``interrupted`` where its process on this machine is gone."""
    import psutil

    if status["status"] == "running" and status.get("host") == platform.node():
        pid = status.get("pid")
        possible = type(pid) is int and 0 < pid < 2**31  # whatever somebody wrote there
        return "running" if possible and psutil.pid_exists(pid) else "interrupted"
    return status["status"]


def _summary(entry: Entry) -> dict[str, Any]:
    status, name = entry.status, entry.run.name
    state, begun, ended = _state(status), status.get("started"), status.get("ended")
    seconds = status.get("seconds")
    if begun and ended and not isinstance(seconds, int | float):  # another machine began it, or an earlier version
        seconds = round((datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds(), 1)
    return dict(run=name, notebook=status["notebook"], status=state, started=begun, seconds=seconds)


def _place(status: Mapping[str, Any]) -> tuple[int, str]:
    sequence = status.get("sequence")
    return sequence if type(sequence) is int else 0, status["ended"]
