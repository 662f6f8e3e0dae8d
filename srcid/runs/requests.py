"""One run as asked for: checked, identified and named before anything starts; and who may execute it.

By hand, by command line and in a sweep :func:`request` says which run it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srcid.features import FeatureStore
from srcid.runs.folders import Run, RunError, folder_name, identity, plain, root
from srcid.runs.kernel import end_leftover
from srcid.runs.notebooks import Declared, check, declared, find_notebook
from srcid.runs.overview import TRAINING, latest


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


def request(
    notebook: str | Path,
    values: Mapping[str, Any] | None = None,
    run_name: str | None = None,
    names: Declared | None = None,
) -> Request:
    """Check the parameters of a run and return it, named ``<notebook>-<preset>-<data>-s<seed>-<identity>``.

    A run is told from others by what its parameters come to, however they were given: by the resolved
    :class:`srcid.params.Params` in place of preset and options; by the fingerprint of the data
    (:func:`srcid.features.source.fingerprint`), the same before and after they are made; by the identity of the run
    that it looks into; and by the code version. What the notebook's cells say does not count: a run whose notebook was
    mended goes on. Where such a run has a folder of another name already, it is called by that.

    Args:
        notebook: name or path; with ``names`` it need not exist.
        values: of its parameters.
        run_name: name of the run folder.
        names: its parameters, where they are known without reading it.

    Raises:
        ParameterError: parameters that cannot be used, all at once.
        RunError: no such notebook.
    """
    path = Path(notebook) if names else find_notebook(notebook)
    [checked] = check([path], values or {}, names)
    everything = checked.defaults | checked.given
    counted, words, source = dict(everything), dict(everything), checked.data
    if checked.params:
        counted = {n: v for n, v in counted.items() if n not in ("preset", "options")} | plain(checked.params)
        words["seed"] = checked.params.seed
    if checked.data:
        counted = {n: v for n, v in counted.items() if n not in ("data", "fsdd", "generator")}
    if "run" in counted and not counted.get("folder"):
        words["data"], source = _looked_into(counted.pop("run"))
    found = identity(path.stem, counted, source)
    name = _folder_of(found, folder_name(path.stem, words, found)) if run_name is None else run_name
    params = plain(checked.params) if checked.params else everything
    return Request(path, checked.given, everything, params, found, name)


def _looked_into(run: str) -> tuple[str, str]:
    """Name and identity of the run that a notebook looks into: as :func:`srcid.runs.ready`, before it is made."""
    try:
        found = Run.open(run) if run else latest(TRAINING)
    except RunError:
        with contextlib.suppress(RunError):  # there is no notebook that could make one either
            asked = request(TRAINING)
            return asked.name, asked.identity
        return "", ""
    return found.name, found.status["identity"]


def _folder_of(identifier: str, name: str) -> str:
    """Name of the folder that a run has already, or else ``name``."""
    if not (root() / name).exists():
        for path in root().glob(f"*-{identifier[:8]}"):
            with contextlib.suppress(RunError):
                if Run.open(path).status["identity"] == identifier:
                    return path.name
    return name


def current(notebook: str, values: Mapping[str, Any], reads: Any = None) -> Run:
    """Return the run a notebook works in: the one its launcher made, or else the one that its parameters ask for.

    Started by hand (JupyterLab, plain papermill, nbval) the notebook makes, or opens again, the folder that
    :func:`srcid.runs.execute` would make for the same parameters, so that running it twice continues rather than
    repeats.

    Args:
        notebook: name of the calling notebook.
        values: its parameters, among any other names: ``globals()``.
        reads: the store or the :class:`Run` that it reads.

    Raises:
        ParameterError: parameters that cannot be used, all at once.
        RunError: no such notebook, or a folder that is damaged or was made of other data.
    """
    if os.environ.get("SRCID_RUN"):
        run = Run.open(os.environ["SRCID_RUN"])
    else:
        own = {name: values[name] for name in declared(find_notebook(notebook)) if name in values}
        run = request(notebook, own | ({"run": str(reads.folder)} if isinstance(reads, Run) else {})).open()
        run.mark("running")
    if reads is not None and not isinstance(reads, Run):
        note_store(run, reads)
    return run


def note_store(run: Run, store: FeatureStore) -> None:
    """Keep in a run which store it reads.

    Raises:
        RunError: it has read another one.
    """
    found = run.status.get("checksum")
    if found and found != store.checksum:
        raise RunError(
            f"{run.folder} was begun on other data (found checksum {found[:8]}, need {store.checksum[:8]}); "
            "delete the folder or give the run another name"
        )
    run.write("status.json", run.status | {"checksum": store.checksum})
    run.write("store.json", {"path": str(store.path), "checksum": store.checksum})


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
