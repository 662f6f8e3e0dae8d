"""One run as asked for: checked, identified and named before anything starts; and who may carry it out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srcid.runs.folders import Run, RunError, folder_name, identity, plain, root
from srcid.runs.kernel import end_leftover
from srcid.runs.notebooks import check, find_notebook


class Busy(RunError):
    """Another process is executing the run."""


@dataclass(frozen=True)
class Request:
    """A run that could start.

    Attributes:
        notebook: path of the notebook.
        given: the values that it is given, converted.
        values: all its parameters.
        params: the resolved :class:`srcid.params.Params` of a notebook that trains, else ``values``.
        identity: hash of all parameters, of the data and of the code.
        name: name of the run folder.
    """

    notebook: Path
    given: dict[str, Any]
    values: dict[str, Any]
    params: dict[str, Any]
    identity: str
    name: str

    def open(self) -> Run:
        """Return the run's folder, made if it does not exist.

        Raises:
            RunError: the name is unusable, or the folder is foreign, damaged or another run's.
        """
        return Run.create_or_open(
            self.name, self.notebook.stem, self.params, values=self.values, identifier=self.identity
        )

    def finished(self) -> Run | None:
        """Return the run if it has finished already.

        Raises:
            RunError: as :meth:`open`.
        """
        run = self.open() if (root() / self.name).exists() else None
        return run if run and run.status["status"] == "finished" else None


def request(notebook: str | Path, values: Mapping[str, Any] | None = None, run_name: str | None = None) -> Request:
    """Check the parameters of a run and return it, named ``<notebook>-<preset>-<data>-s<seed>-<identity>``.

    The data count by their fingerprint (:func:`srcid.features.source.fingerprint`), which is the same before and
    after they are made. What the notebook's cells say does not count: a run whose notebook was mended goes on.

    Raises:
        ParameterError: parameters that cannot be used, all at once.
        RunError: no such notebook.
    """
    path = find_notebook(notebook)
    [checked] = check([path], values or {})
    everything = checked.defaults | checked.given
    resolved = plain(checked.params) if checked.params else everything
    identifier = identity({**everything, "params": resolved, "notebook": path.stem}, checked.data)
    name = run_name or folder_name(path.stem, {**everything, **resolved}, identifier)
    return Request(path, checked.given, everything, resolved, identifier, name)


@contextlib.contextmanager
def claimed(run: Run, wait: bool = False) -> Iterator[None]:
    """Hold a run for this process alone; the operating system lets go of it when the process ends, however it ends.

    A kernel that outlived the run's last process is ended first.

    Args:
        wait: until whoever holds the run lets go of it.

    Raises:
        Busy: somebody holds it, and ``wait`` is not set.
    """
    lock = FileLock(run.folder / "run.lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        status = run.status
        who = f"process {status.get('pid')} on {status.get('host')}"
        raise Busy(f"{run.folder} is being executed by another process ({who}); wait for it, or stop it") from None
    try:
        end_leftover(run.folder)
        yield
    finally:
        lock.release()
