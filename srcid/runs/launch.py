"""Executing notebooks headless, through papermill, into run folders."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from srcid.problems import PlainError
from srcid.runs.folders import Run, home, root
from srcid.runs.kernel import forget, how_it_died, kernel_manager
from srcid.runs.notebooks import quick_imports, read_notebook
from srcid.runs.requests import Request, claimed, request


class RunFailed(PlainError):
    """A notebook stopped in a cell; the executed notebook with the error is in :attr:`run`'s folder."""

    def __init__(self, message: str, run: Run):
        super().__init__(message)
        self.run = run


def execute(
    notebook: str | Path,
    values: Mapping[str, Any] | None = None,
    run_name: str | None = None,
    stream: IO[str] | None = None,
) -> Run:
    """Execute a notebook headless into its run folder and return the run.

    Parameters are checked first (:func:`check_parameters`). The executed notebook is kept in the folder,
    also when a cell fails.

    Args:
        notebook: name or path.
        values: its parameters.
        run_name: name of the folder; default ``<notebook>-<preset>-<data>-s<seed>-<identity>``.
        stream: where progress is written, a line a cell; default: standard output.

    Raises:
        ParameterError: parameters that cannot be used.
        RunError: no such notebook, a folder that belongs to another run, or one in which another process works.
        RunFailed: a cell failed or the kernel died.
    """
    asked = request(notebook, values, run_name)
    run = asked.open()
    with claimed(run):
        run_notebook(asked, run, stream or sys.stdout)
    return run


def run_notebook(asked: Request, run: Run, stream: IO[str]) -> None:
    """Execute a checked request into ``run``, which the caller has claimed.

    Raises:
        RunFailed: a cell failed or the kernel died.
    """
    with quick_imports():
        import papermill as pm
    from traitlets.config import Config

    path, book = asked.notebook, read_notebook(asked.notebook)
    run.mark("running")
    progress = Progress(path.stem, book, stream)
    sockets = Path(tempfile.mkdtemp(prefix="srcid-"))  # short: the path of a socket may not exceed 107 letters
    environment = {
        "SRCID_RUN": str(run.folder),
        "SRCID_HOME": str(home()),
        "SRCID_RUNS": str(root()),
        "PLOTLY_RENDERER": "plotly_mimetype",
    }
    manager = kernel_manager(run.folder, environment, lambda: progress.busy)
    # Kernels that start together race for ports; socket files in a folder of their own cannot collide
    # (jupyter_client's default name for them is the same for all kernels of a working directory).
    wires = {} if os.name == "nt" else {"transport": "ipc", "ip": str(sockets / "kernel")}
    wires |= {"connection_file": str(sockets / "kernel.json"), "shutdown_wait_time": 60.0}  # time to save on Ctrl-C
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="(papermill|nbclient|jupyter_client|zmq|traitlets).*")
            pm.execute_notebook(
                book,
                str(run.notebook).replace("{", "{{").replace("}", "}}"),  # papermill formats it
                parameters=asked.given,
                cwd=str(path.parent),
                progress_bar=False,
                start_timeout=240,  # a machine that swaps or builds caches may need a while
                stdout_file=progress,
                store_widget_state=False,
                config=Config(KernelManager=wires),
                kernel_manager_class=manager,
                on_cell_start=progress.cell_started,
                on_cell_executed=progress.cell_ended,
            )
    except pm.PapermillExecutionError as error:
        cause = f"{error.ename}: {error.evalue}"
        run.mark("failed", error=cause)
        raise RunFailed(_failure(path.stem, progress.label, cause, error.traceback, run), run) from None
    except KeyboardInterrupt:
        logging.getLogger("asyncio").addFilter(_is_news)  # of what nbclient left behind
        run.mark("interrupted", error="stopped from the keyboard")
        raise
    except Exception as error:  # the kernel died, or never came up
        cause = how_it_died(manager, run.folder) if "kernel died" in str(error).lower() else f"{error}"
        run.mark("failed", error=f"{type(error).__name__}: {cause}")
        raise RunFailed(_failure(path.stem, progress.label, cause, [], run), run) from error
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
        forget(run.folder)
    if run.status["status"] == "running":  # unless the notebook said how it ended
        run.finish()


class Progress:
    """Readable progress: one line a cell when it ends; meanwhile what the cell prints last.

    On a terminal the running cell's line is rewritten in place; elsewhere it is written anew every
    :attr:`patience` seconds, if the cell has said something new.
    """

    patience = 20.0

    def __init__(self, notebook: str, book: Any, stream: IO[str]):
        self.notebook, self.stream, self.live = notebook, stream, stream.isatty()
        self.labels: dict[str, str] = {}
        heading = "set-up"
        for cell in book.cells:
            if cell.cell_type == "markdown":
                found = re.findall(r"^#+\s+(.+?)\s*$", cell.source, flags=re.MULTILINE)
                heading = found[-1] if found else heading
            elif cell.cell_type == "code" and cell.source.strip():
                self.labels[cell.get("id", str(len(self.labels)))] = heading
        self.order, self.busy = list(self.labels), False
        self.place, self.label, self.begun, self.said, self.hidden = "", "start", time.monotonic(), 0.0, False

    def cell_started(self, cell: Any, cell_index: int) -> None:
        del cell_index
        key, self.begun, self.busy = cell.get("id"), time.monotonic(), True
        self.said, self.hidden = self.begun, key not in self.labels  # the cell papermill adds
        if self.hidden:
            return
        self.place, self.label = f"{self.order.index(key) + 1:2d}/{len(self.order)}", self.labels[key]
        if self.live:
            self._show("…", end="")

    def write(self, text: str) -> None:
        """Take what a cell prints (papermill hands it over as to a file)."""
        lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
        if lines and (self.live or time.monotonic() - self.said > self.patience):
            self.said = time.monotonic()
            self._show(f"… {lines[-1]}", end="" if self.live else "\n")

    def flush(self) -> None:
        self.stream.flush()

    def cell_ended(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        del cell, cell_index
        self.busy = False
        failed = execute_reply["content"].get("status") == "error"
        if failed or not self.hidden:
            self._show("FAILED" if failed else "", end="\n")

    def _show(self, note: str, end: str) -> None:
        seconds = time.monotonic() - self.begun
        line = f"{self.notebook}  {self.place}  {self.label[:44]:44s} {seconds:7.1f} s  {note}".rstrip()
        if self.live:
            line = "\r\x1b[K" + line[: max(40, _width(self.stream) - 1)]
        self.stream.write(line + end)
        self.stream.flush()


def _width(stream: IO[str]) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 120


def _failure(notebook: str, label: str, cause: str, trace: Sequence[str], run: Run) -> str:
    """The failing cell's error for people: where, what, the end of its traceback, the notebook kept.

    The errors that srcid raises for its users have no traceback (:class:`srcid.problems.ProblemsError`).
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(trace)).rstrip()
    tail = "" if text == cause.rstrip() else "".join(f"\n    {line}" for line in text.splitlines()[-15:])
    return f"{notebook} stopped in '{label}': {cause}{tail}\n  executed notebook: {run.notebook}"


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message is another one than that a kernel has died, which it was told to."""
    return not (record.exc_info and record.exc_info[0] and record.exc_info[0].__name__ == "DeadKernelError")
