"""A run chosen by a click: at the top of every notebook that looks into one, and in the index of all runs."""

from __future__ import annotations

import contextlib
import html
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srcid.files import read_json, write_json
from srcid.page import drawing
from srcid.runs.folders import Run, RunError, root
from srcid.runs.launch import execute
from srcid.runs.overview import TRAINING, RunWarning, latest, table
from srcid.training.log import read_log
from srcid.widget import has_front_end

_CHOSEN = ".chosen.json"  # below the root of runs; only what somebody clicked, so nothing headless reads it
_WIDTH, _HEIGHT = 120, 24  # pixels of a sparkline
_SCORES = 2  # columns of scores in the index


def pick(run: str | Path = "") -> Run:
    """Return the run to look into and, where somebody can click, show a list from which to choose another.

    Args:
        run: run folder or its name. Empty: the one chosen by a click, here or in the index, else the newest finished
            one. Headless nothing is shown and no click counts.

    Raises:
        RunError, RunFailed: as :func:`srcid.runs.ready`.
    """
    if not has_front_end():
        return ready(run)
    from IPython.display import display

    found = ready(run or chosen())
    display(RunPicker(found, fixed=bool(run)).view)
    return found


def ready(run: str | Path = "") -> Run:
    """Return a finished run of ``02_train`` to look into: the one named, else the newest, else one made now.

    Args:
        run: run folder, or its name below :func:`root`; empty for the newest finished one. Where there is none,
            the notebook is executed first, with its default parameters.

    Raises:
        RunError: ``run`` is no run of ``02_train``, or is not finished.
        RunFailed: the run made now failed.
    """
    if run:
        found = Run.open(run)
        state, made_by = found.status["status"], found.status["notebook"]
        if made_by != TRAINING or state != "finished":
            raise RunError(f"{found.folder} is a run of {made_by}, {state}; need a finished run of {TRAINING}")
        return found
    try:
        return latest(TRAINING)
    except RunError:
        print(f"no finished run of {TRAINING} in {root()}: making one with its default parameters", flush=True)
        return execute(TRAINING)


def choose(name: str) -> None:
    """Remember the run called ``name`` as the one that notebooks without the parameter ``run`` look into."""
    write_json(root() / _CHOSEN, {"run": name})


def chosen() -> str:
    """Return the name of the chosen run; nothing if there is none, or it is no finished run of ``02_train``."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none was chosen, or it is gone
        name = str(read_json(root() / _CHOSEN)["run"])
        if name in _finished():
            return name
    return ""


class RunPicker:
    """A list of the finished runs of ``02_train``, newest first; ``view`` is the widget, ``name`` the run selected.

    Args:
        run: selected at first.
        fixed: the notebook's parameter names the run, so a click says how to change that and chooses nothing.
    """

    def __init__(self, run: Run, fixed: bool = False) -> None:
        import ipywidgets

        self.name, self.fixed = run.name, fixed
        names = _finished()
        self.list = ipywidgets.Dropdown(
            options=names if run.name in names else [run.name, *names],
            value=run.name,
            description="run",
            layout=dict(width="min(100%, 640px)"),
        )
        self.note = ipywidgets.HTML()
        self.list.observe(self._changed, "value")
        self.view = ipywidgets.VBox([self.list, self.note])

    def _changed(self, change: Any) -> None:
        if self.fixed:
            self.note.value = "The parameter <code>run</code> names a run; empty it to choose one here."
            return
        self.name = change["new"]
        choose(self.name)
        self.note.value = "Chosen for all notebooks. In an open one choose Run, then Run All Cells."


class RunIndex:
    """All runs as a table: status, data, scores, and the course of the training loss, the newest first.

    Where somebody can click, a list above the table chooses the run that the notebooks then look into.
    """

    def __init__(self) -> None:
        frame = _table()[::-1]
        self.frame = frame[frame["notebook"] != "index"] if len(frame) else frame  # headless, itself a run

    def table(self, most: int = 20) -> str:
        """Return the table as HTML: the newest ``most`` runs, with at most two columns of scores.

        Scores of codes whole, and those across modalities, come first. A run's name begins with its notebook.
        """
        if not len(self.frame):
            return "<p>No runs yet: open 02_train and run all its cells, or say ./lab run.</p>"
        names = [name for name in self.frame if name.startswith("score/")]
        names = sorted(names, key=lambda name: (not name.endswith("/all"), "/across" not in name))[:_SCORES]
        head = ["run", "status", "data", "loss in training", *(name[6:] for name in names), "started"]
        rows = []
        for entry in self.frame[:most].to_dict("records"):
            run = Run(root() / entry["run"])
            name, *words = map(html.escape, (entry["run"], entry["status"], _data(run)))
            name = name.replace("_", "_<wbr>")
            numbers = (f"{entry[name]:.1f}" if entry[name] == entry[name] else "" for name in names)
            day, _, hour = html.escape(str(entry["started"] or "")[:16]).partition("T")
            started = f"<span style='white-space:nowrap'>{day}</span> {hour}"  # the hour goes below where room is short
            rows.append(_row("td", [name, *words, sparkline(_losses(run.metrics)), *numbers, started]))
        titles = _row("th", [html.escape(name).replace("/", "/<wbr>") for name in head])
        more = f"<p>and {len(self.frame) - most} older ones</p>" if len(self.frame) > most else ""
        return f"<table>{titles}{''.join(rows)}</table>{more}"

    def show(self, notebooks: Sequence[str] = (), most: int = 20) -> None:
        """Display the list where somebody can click, links to ``notebooks``, and the table of the newest ``most``."""
        from IPython.display import display

        known = _finished()
        if known and has_front_end():
            display(RunPicker(Run.open(root() / (chosen() or known[0]))).view)
        links = " · ".join(f'<a href="{html.escape(name)}.ipynb">{html.escape(name)}</a>' for name in notebooks)
        text = f"<p>Look into that run: {links}</p>" if known and links else ""
        display({"text/html": text + self.table(most), "text/plain": f"{len(self.frame)} runs"}, raw=True)


def sparkline(values: Sequence[float]) -> str:
    """Return ``values`` as a small line; nothing for fewer than two finite ones."""
    from srcid.style import INK

    values = [value for value in values if math.isfinite(value)]
    if len(values) < 2:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    step = (_WIDTH - 4) / (len(values) - 1)
    dots = (
        f"{2 + step * i:.1f},{2 + (_HEIGHT - 4) * (1 - (value - low) / span):.1f}" for i, value in enumerate(values)
    )
    line = f"<polyline points='{' '.join(dots)}' fill='none' stroke='{INK}' stroke-width='1.5'/>"
    look = f"width:{_WIDTH}px;min-width:{_WIDTH}px;height:{_HEIGHT}px"
    said = f"from {values[0]:.3g} to {values[-1]:.3g}"
    return f"<span title='{said}'>{drawing(line, f'0 0 {_WIDTH} {_HEIGHT}', look, said)}</span>"


def _row(kind: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{kind} style=text-align:left>{cell}</{kind}>' for cell in cells)}</tr>"


def _table(notebook: str | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunWarning)  # damaged folders are no matter here; `srcid runs` names them
        return table(notebook)


def _finished() -> list[str]:
    """Names of the finished runs of ``02_train``, newest first."""
    frame = _table(TRAINING)
    return frame.loc[frame["status"] == "finished", "run"].tolist()[::-1] if len(frame) else []


def _data(run: Run) -> str:
    """The word for the data of a run, as given or as its store is called; nothing if the run has vanished."""
    given = ""
    with contextlib.suppress(RunError):
        given = run.status.get("values", {}).get("data") or run.read("store.json").get("path")
    return Path(str(given or "")).name


def _losses(metrics: Path) -> list[float]:
    """The training loss along a run, thinned to about half as many values as a sparkline has pixels."""
    losses = []
    for line in read_log(metrics):  # none of a notebook that does not train
        with contextlib.suppress(ValueError, TypeError, KeyError):
            losses.append(float(line["loss/total"]))
    return losses[:: max(1, math.ceil(2 * len(losses) / _WIDTH))]
