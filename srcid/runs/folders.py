"""Run folders: where they lie, what makes one, and what is in it.

A run folder holds everything the run is and says::

    params.json     the resolved parameters          metrics.jsonl   what training measured
    status.json     how it went, and its identity    checkpoint/     weights and optimiser
    store.json      which data it read               codes/          the CodeTable
    epochs/         codes after each epoch           figures/        plotly figures as JSON
    notebook.ipynb  the executed notebook

A run's identity (:func:`identity`) is its notebook, its full parameters, its data and the code version: the same
request lands in the same folder again, and continues there; anything else gets a folder of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from srcid.files import (
    code_version,
    digest,
    draft_of,
    make_folder,
    read_json,
    remove_orphans,
    sealed,
    unsealed,
    write_json,
)
from srcid.params import suggest
from srcid.problems import ProblemsError
from srcid.values import normal_name, plain, shorten

FORMAT, VERSION = "srcid-run", 2  # version 1 has no checksums in its JSON files
_WORD = 45  # bytes of each word in the name of a folder
_MOST = 8  # names that a message lists
STATES = ("created", "running", "finished", "failed", "interrupted")


class RunError(ProblemsError):
    """A run folder or a notebook that cannot be used as asked; the message says what to do."""


def home() -> Path:
    """Project folder: ``SRCID_HOME``, or the nearest folder upwards with srcid's pyproject.toml, or here."""
    if os.environ.get("SRCID_HOME"):
        return Path(os.environ["SRCID_HOME"]).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            project = (folder / "pyproject.toml").read_text(encoding="utf-8")
            if re.search(r"""^name\s*=\s*["']srcid["']""", project, re.MULTILINE):
                return folder
    return here


def root() -> Path:
    """Where run folders lie: ``SRCID_RUNS``, or ``runs/`` in the project."""
    return Path(os.environ.get("SRCID_RUNS") or home() / "runs").resolve()


@contextlib.contextmanager
def elsewhere(name: str) -> Iterator[Path]:
    """Let runs be made in the folder ``name`` below :func:`root` meanwhile, hidden from :func:`srcid.runs.latest`.

    A name that begins with a dot is passed over by :func:`srcid.runs.table`.
    """
    before, folder = os.environ.get("SRCID_RUNS"), root() / name
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["SRCID_RUNS"] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop("SRCID_RUNS") if before is None else os.environ.update(SRCID_RUNS=before)


def headless() -> bool:
    """Whether nobody is there to click: under :func:`execute` and in the test suite."""
    return bool(os.environ.get("SRCID_RUN") or os.environ.get("SRCID_HEADLESS"))


def identity(notebook: str, values: Any, data: str = "", code: str | None = None) -> str:
    """SHA-256 in hex over what makes a run the same run.

    Args:
        notebook: its name.
        values: parameters by name, in any order; a :class:`Params` or a dict.
        data: what tells the data, or the run that is read, from others.
        code: code version (default: this one).
    """
    return digest([notebook, plain(values), data, code or code_version()])


@dataclass(frozen=True)
class Run:
    """One run folder. Make it by :meth:`create_or_open`, :meth:`open` or :func:`srcid.runs.current`."""

    folder: Path

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open an existing run folder, given as a path or as a name below :func:`root`.

        Raises:
            RunError: the folder is missing, is no run, is damaged, or was written by another format version.
        """
        path = Path(folder)
        if not os.path.exists(path) and path.name == str(folder):
            path = root() / unicodedata.normalize("NFC", str(folder))
        if not os.path.exists(path):  # False also for names that no file can have
            raise RunError(f"there is no run {shorten(str(folder))}{among(path.name, _names(path.parent))}")
        run = cls(path.resolve())
        status = run.read("status.json")
        if status.get("format") != FORMAT or status.get("version") not in range(1, VERSION + 1):
            found = f"{status.get('format')} {status.get('version')}"
            raise RunError(f"{path} says it is '{found}'; this version reads '{FORMAT}' 1 to {VERSION}")
        wrong = _wrong(status)
        if wrong:
            raise RunError(f"{path / 'status.json'} is damaged ({wrong}); delete the folder and run again")
        return run

    @classmethod
    def create_or_open(
        cls,
        name: str,
        notebook: str,
        params: Any,
        values: Mapping[str, Any] | None = None,
        identifier: str = "",
    ) -> Run:
        """Return the run called ``name`` below :func:`root`, made if it does not exist.

        Args:
            name: name of the folder.
            notebook: name of the notebook that the run executes.
            params: resolved parameters (a :class:`Params` or a dict), kept in ``params.json``.
            values: all the notebook's parameters, kept in ``status.json``.
            identifier: identity of the run; default: that of ``notebook`` and ``params`` alone.

        Raises:
            RunError: bad name, a foreign folder of that name, or a run with another identity.
        """
        try:
            name = normal_name(name, "a run")
        except ValueError as error:
            raise RunError(str(error)) from None
        target, identifier = root() / name, identifier or identity(notebook, params)
        if not target.exists():
            draft = draft_of(target)
            try:
                for part in ("checkpoint", "codes", "figures"):
                    make_folder(draft / part)
                run = cls(draft)
                run.write("params.json", params)
                about = dict(notebook=notebook, identity=identifier, code=code_version(), checksum="")
                about |= dict(values=values or {}, params=digest(plain(params)), status="created", created=_now())
                run.write("status.json", {"format": FORMAT, "version": VERSION, **about})
                with contextlib.suppress(OSError):  # somebody else made it meanwhile
                    draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            remove_orphans(target.parent)
        run = cls.open(target)
        found = run.status
        if found.get("identity") != identifier:
            ours = f"{notebook}, code {code_version()}"
            theirs = f"{found.get('notebook')}, code {found.get('code')}"
            raise RunError(
                f"{target} belongs to another run (found {theirs}; need {ours}, with equal parameters "
                "and data); choose another name or delete the folder"
            )
        return run

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def codes(self) -> Path:
        return self.folder / "codes"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def notebook(self) -> Path:
        return self.folder / "notebook.ipynb"

    @property
    def params(self) -> dict[str, Any]:
        """Parameters, fully resolved."""
        return self.read("params.json")

    @property
    def status(self) -> dict[str, Any]:
        return self.read("status.json")

    def read(self, name: str) -> Any:
        """Return the content of a JSON file of the run.

        Raises:
            RunError: the file is missing or damaged, or holds parameters that the run was not made with.
        """
        path = self.folder / name
        try:
            content = read_json(path)
            about = content if name == "status.json" else self.status
            content = unsealed(content, without=not isinstance(about, dict) or about.get("version") == 1)
        except OSError:
            raise RunError(f"{self.folder} is no run folder, or a damaged one: it has no {name}") from None
        except ValueError as error:
            raise RunError(f"{path} is damaged ({error}); delete the folder and run again") from None
        if not isinstance(content, dict):
            raise RunError(f"{path} is damaged (found {type(content).__name__}, need an object)")
        if name == "params.json" and "params" in about and about["params"] != digest(content):
            raise RunError(f"{path} is not that of this run; delete the folder and run again")
        return content

    def write(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a JSON file of the run, whole or not at all, with its checksum.

        ``scores.json``, flat names to numbers, is shown by :func:`srcid.runs.table`.
        """
        path = self.folder / name
        write_json(path, sealed(plain(content)))
        return path

    def mark(self, status: str, error: str | None = None) -> None:
        """Set the status, one of :data:`STATES`, with its time and what went wrong."""
        if status not in STATES:
            raise RunError(f"found status {shorten(status)}, need one of {', '.join(STATES)}")
        entry = self.status | {"status": status, "error": error}
        if status == "running":
            entry |= {"started": _now(), "ended": None, "pid": os.getpid(), "host": platform.node()}
            entry |= {"clock": time.monotonic(), "seconds": None}
        else:
            entry |= {"ended": _now(), "sequence": 1 + max(map(_sequence, self.folder.parent.glob("*/status.json")))}
            # a clock that was set back or forward meanwhile does not count, but the machine may have been started anew
            clock = entry.get("clock")
            passed = time.monotonic() - clock if isinstance(clock, float) else -1.0
            entry["seconds"] = round(passed, 1) if passed >= 0 and entry.get("host") == platform.node() else None
        self.write("status.json", entry)

    def finish(self, status: str = "finished") -> None:
        """Mark the run as over; the last cell of a notebook says this.

        Args:
            status: ``finished``, or ``stopped`` where training was stopped before its end: the run is then marked
                ``interrupted``, and :func:`srcid.runs.latest` does not take it. The status of a training result fits.
        """
        self.mark("interrupted" if status == "stopped" else status)

    def save_figure(self, figure: Any, name: str) -> Path:
        """Keep a plotly figure as ``figures/<name>.json``, to be drawn again by :meth:`load_figure`."""
        import plotly

        content = {"format": "srcid-figure", "version": 1, "name": name, "plotly": plotly.__version__}
        return self.write(f"figures/{name}.json", content | {"figure": json.loads(figure.to_json())})

    def load_figure(self, name: str) -> Any:
        """Return the plotly figure kept under ``name``.

        Raises:
            RunError: there is none; the message says which there are. Or it is damaged.
        """
        import plotly.graph_objects as go

        from srcid.style import apply_style

        apply_style()
        known = sorted(path.stem for path in self.figures.glob("*.json"))
        if name not in known:
            raise RunError(f"{self.name} has no figure {shorten(name)}{among(name, known)}")
        kept = self.read(f"figures/{name}.json")
        try:
            return go.Figure(kept["figure"])
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{self.figures / name}.json is damaged: what it holds is no figure") from None


def _sequence(status: Path) -> int:
    """The place of a run in the order in which runs ended; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        found = read_json(status).get("sequence")
        return found if type(found) is int else 0
    return 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def among(name: str, known: Sequence[str]) -> str:
    """End of a sentence about a name that is not there: the nearest of those that are, and what there is."""
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    return f"{suggest(name, list(known))}; there are {', '.join(known[:_MOST]) or 'none'}{more}"


def _names(folder: Path) -> list[str]:
    """Names of the run folders in ``folder``."""
    with contextlib.suppress(OSError):  # the name of the folder is none
        return sorted(path.parent.name for path in folder.glob("[!.]*/status.json"))
    return []


def folder_name(notebook: str, about: Mapping[str, Any], identifier: str) -> str:
    """``<notebook>-<preset>-<data>-s<seed>-<identity>``, of which a notebook may lack the middle ones."""
    words = [notebook, about.get("preset"), Path(str(about.get("data") or "")).name]
    words += [f"s{about['seed']}"] if "seed" in about else []
    # no "=", which papermill does not read in the value of a parameter
    words = [re.sub(r"[^\w.+]+", "_", unicodedata.normalize("NFC", str(word))) for word in words if word]
    words = [word.encode()[:_WORD].decode(errors="ignore") for word in words]
    return "-".join([*words, identifier[:8]])


def _wrong(status: Mapping[str, Any]) -> str:
    """What is wrong with the content of a status.json, or nothing."""
    for key in ("notebook", "identity", "status"):
        if not isinstance(status.get(key), str):
            return f"found {key} {shorten(status.get(key))}, need a word"
    for key in ("created", "started", "ended"):
        try:
            if datetime.fromisoformat(_now() if status.get(key) is None else status[key]).tzinfo is None:
                raise ValueError
        except (TypeError, ValueError):
            return f"found {key} {shorten(status[key])}, need a time"
    if not isinstance(status.get("values", {}), dict):
        return f"found values {shorten(status['values'])}, need them by name"
    return "it finished without a time" if status["status"] == "finished" and not status.get("ended") else ""
