"""Many runs of one notebook: a grid of parameters, each of its runs in a folder and a process of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from filelock import FileLock

from srcid.files import disk_errors, read_json, write_json
from srcid.params import ParameterError
from srcid.runs.cluster import Cluster
from srcid.runs.folders import Run, code_version, home, root
from srcid.runs.grid import MOST, corners, expand
from srcid.runs.notebooks import declared, find_notebook
from srcid.runs.overview import state_of
from srcid.runs.requests import Request, request
from srcid.runs.subprocess_run import REFUSED, Order, Outcome, lives, run_in_subprocess
from srcid.values import duration

_LOST = "lost with the cluster: its workers died again and again, or its scheduler is gone"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Sweep:
    """What came of a grid of runs.

    Attributes:
        notebook: path of the notebook.
        grid: the parameters of each run, in the order of the grid; a run that was asked for twice is there once.
        names: the runs' folders, in the same order.
        runs: those that are finished now, in the same order.
        skipped: names of those that were finished before.
        failed: name and error of those that are not.
    """

    notebook: Path
    grid: list[dict[str, Any]]
    names: list[str]
    runs: list[Run]
    skipped: list[str]
    failed: dict[str, str]


def sweep(
    notebook: str | Path,
    values: Mapping[str, Any],
    jobs: int = 1,
    scheduler: str = "",
    most: int = MOST,
    stream: IO[str] | None = None,
) -> Sweep:
    """Execute a notebook with every combination of ``values`` and return the runs.

    All parameters are checked before the first run starts. Each run has a folder (:func:`execute`) and a process of
    its own; one that fails does not stop the others. Called again, it does what is missing and nothing else: runs
    that finished are left alone, failed and interrupted ones go on in their folders. Several sweeps may share runs:
    none is executed by two at once. When the sweep is stopped or killed, its runs save what they can and stop.

    Args:
        notebook: name or path.
        values: of its parameters, or of any field of :class:`srcid.params.Params`; see :func:`expand`.
        jobs: runs at a time on this machine. They share its cores: each gets an equal number of threads.
        scheduler: address of a Dask scheduler; the runs are sent there instead, as many at a time as its workers
            have threads. Workers need the same srcid and see the same folders. A run whose worker dies is continued
            by another one.
        most: largest number of runs; more than usual must be asked for.
        stream: where progress is written, a line for a finished run; default: standard output.

    Raises:
        ParameterError: a grid or parameters that cannot be used; all problems at once.
        RunError: no such notebook, unusable run folders, or no such cluster.
    """
    if jobs < 1:
        raise ParameterError(f"found jobs={jobs}, need 1 or more")
    _checked(notebook, corners(values))  # a wrong value among thousands is told before they are written out
    grid, merged = _checked(notebook, expand(values, most))
    requests, stream = [cell.request for cell in grid], stream or sys.stdout
    done = {asked.name: run for asked in requests if (run := asked.finished())}
    skipped, missing = list(done), [asked for asked in requests if asked.name not in done]
    _say(stream, *merged)
    _say(stream, f"{requests[0].notebook.stem}: {len(grid)} runs, {len(done)} finished before, {len(missing)} to do")
    board = _Board(len(missing), stream)
    failed = dict.fromkeys((asked.name for asked in missing), _LOST)
    for outcome in _outcomes(missing, jobs, scheduler) if missing else ():
        board.tell(outcome)
        failed[outcome["name"]] = outcome["error"]
        if outcome["status"] == "finished":
            del failed[outcome["name"]]
            done[outcome["name"]] = Run.open(outcome["name"])
    return Sweep(
        notebook=requests[0].notebook,
        grid=[cell.values for cell in grid],
        names=[asked.name for asked in requests],
        runs=[done[asked.name] for asked in requests if asked.name in done],
        skipped=skipped,
        failed=failed,
    )


def _outcomes(requests: list[Request], jobs: int, scheduler: str) -> Iterator[Outcome]:
    """Execute runs and say how they went, in the order in which they end; those that cannot be had are left out."""
    from joblib import cpu_count

    cores = max(1, cpu_count() // jobs) if jobs > 1 and not scheduler else 0
    waiting = {asked.name: asked for asked in requests}
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(Cluster(scheduler) if scheduler else _Threads(jobs))
        # let go of before the workers are waited for: they stop then
        parent_lock = stack.enter_context(_announced(requests))
        if isinstance(workers, Cluster):
            workers.check_workers(parent_lock)
        # What other sweeps are busy with, and what is lost with its workers, is asked for once more at the end.
        for wait in (False, True):
            orders = [_order(asked, wait, parent_lock, cores, bool(scheduler)) for asked in waiting.values()]
            for outcome in workers.outcomes(orders):
                if outcome["status"] != "busy":
                    del waiting[outcome["name"]]
                    yield outcome


class _Threads(ThreadPoolExecutor):
    """Looks after so many runs at a time here; they have processes of their own."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)

    def outcomes(self, orders: Sequence[Order]) -> Iterator[Outcome]:
        for future in as_completed([self.submit(run_in_subprocess, order) for order in orders]):
            outcome = future.result()
            yield outcome if outcome["status"] != REFUSED else Outcome({**outcome, "status": "failed"})


class _Cell(NamedTuple):
    values: dict[str, Any]
    request: Request


def _checked(notebook: str | Path, grid: Iterable[dict[str, Any]]) -> tuple[list[_Cell], list[str]]:
    """Check all runs of a grid; return those that differ, and sentences about those that do not."""
    path, cells = find_notebook(notebook), {}
    names = declared(path)  # read once
    merged, problems = [], []
    for values in grid:
        try:
            cell = _Cell(values, request(path, values, names=names))
        except ParameterError as error:
            problems += error.problems or (error.heading,)
            continue
        first = cells.setdefault(cell.request.identity, cell)
        if first is not cell:
            twice = "is there twice" if first.values == values else f"is the same run as {_words(first.values)}"
            merged.append(f"merged: {_words(values)} {twice}")
    ParameterError.check("the sweep cannot start, invalid parameters:", list(dict.fromkeys(problems)))
    return list(cells.values()), merged


def _words(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items()) or "the default run"


def _order(asked: Request, wait: bool, parent_lock: str, cores: int, elsewhere: bool) -> Order:
    """What to send to the process of a run, which is to use so many cores at most (0: as many as it likes).

    Elsewhere, a worker's slot is one core, unless the worker's environment says otherwise.
    """
    environment = {"SRCID_HOME": str(home()), "SRCID_RUNS": str(root())}
    for name in _THREADS if cores else ():
        said = os.environ.get(name, "")
        environment[name] = str(min(cores, int(said)) if said.isdigit() else cores)
    return Order(
        name=asked.name,
        notebook=str(asked.notebook),
        given=asked.given,
        identity=asked.identity,
        code=code_version(),
        wait=wait,
        environment=environment,
        defaults=dict.fromkeys(_THREADS, "1") if elsewhere else {},
        parent_lock=parent_lock,
    )


@contextlib.contextmanager
def _announced(requests: list[Request]) -> Iterator[str]:
    """Yield the path of a file that a sweep keeps locked as long as it lives; whoever works for it looks there.

    Beside it stands what the sweep is to do, for :func:`underway`.
    """
    folder = root() / ".sweeps"
    with disk_errors(root()):
        folder.mkdir(parents=True, exist_ok=True)
    lock = folder / f"{uuid.uuid4().hex}.lock"
    plan = {"notebook": requests[0].notebook.stem, "names": [asked.name for asked in requests]}
    try:
        with FileLock(lock):
            write_json(lock.with_suffix(".json"), plan)
            yield str(lock)
    finally:
        for path in (lock.with_suffix(".json"), lock):
            path.unlink(missing_ok=True)


def underway() -> list[str]:
    """Say of each sweep that is at work how far it is."""
    lines = []
    for file in (root() / ".sweeps").glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # it ended meanwhile
            plan = read_json(file)
            if lives(str(file.with_suffix(".lock"))):
                states = Counter(state_of(root() / name) for name in plan["names"])
                said = ", ".join(f"{count} {state}" for state, count in states.items())
                lines.append(f"sweep of {plan['notebook']}, {len(plan['names'])} to do: {said}")
    return lines


class _Board:
    """Progress of a sweep, a line for a finished run."""

    def __init__(self, total: int, stream: IO[str]):
        self.done, self.total, self.stream, self.begun = 0, total, stream, time.monotonic()

    def tell(self, outcome: Outcome) -> None:
        self.done += 1
        left = (time.monotonic() - self.begun) / self.done * (self.total - self.done)
        place = f"{self.done:{len(str(self.total))}d}/{self.total}"
        line = f"{place}  {outcome['name']}  {outcome['status']:11s}  {duration(outcome['seconds']):>10s}"
        line += f"  about {duration(left)} left" if self.done < self.total else ""
        line += f"  {outcome['error'].splitlines()[0][:160]}" if outcome["error"] else ""
        _say(self.stream, line)


def _say(stream: IO[str], *lines: str) -> None:
    for line in lines:
        stream.write(line + "\n")
    stream.flush()
