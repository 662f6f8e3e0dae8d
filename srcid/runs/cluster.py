"""Runs on an existing Dask cluster, through joblib's backend for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from srcid.runs.apart import PATIENCE
from srcid.runs.folders import RunError, code_version

if TYPE_CHECKING:
    from joblib.parallel import ParallelBackendBase


@contextlib.contextmanager
def connected(address: str, patience: float = 10.0) -> Iterator[ParallelBackendBase]:
    """Connect to the scheduler at ``address`` and return a backend for :class:`joblib.Parallel`.

    Leaving, waits until tasks that nobody asks for any more have ended.

    Args:
        patience: seconds to wait for the scheduler, and for the first worker.

    Raises:
        RunError: Dask is not installed, nobody answers, or there is no worker.
    """
    try:
        import distributed
        import joblib._dask  # noqa: F401
    except ImportError:
        raise RunError(
            "found no package 'distributed', need it for a Dask cluster; say ./lab install cluster, or "
            "pip install 'srcid[cluster]'"
        ) from None
    # checked here, as a client that fails over it complains once more when it is collected
    if not re.fullmatch(r"(\w+://)?[^/\s]+:\d+", address):
        raise RunError(f"'{address}' is no address of a Dask scheduler; need its host and port, e.g. host:8786")
    try:
        client = distributed.Client(address, timeout=patience, set_as_default=False)
    except OSError as error:
        raise RunError(f"found no Dask scheduler at '{address}' ({error}); start one: dask scheduler") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=patience)
        except TimeoutError:
            raise RunError(f"the cluster at {address} has no worker; start some: dask worker {address}") from None
        backend = _backend(client)
        try:
            yield backend
        finally:
            if backend.unfinished and client.status == "running":
                with client.as_current(), contextlib.suppress(TimeoutError):
                    distributed.wait(backend.unfinished, timeout=PATIENCE)


def check_workers(backend: Any, lifeline: str) -> None:
    """Refuse a cluster whose workers cannot do the work of this process.

    Args:
        backend: of :func:`connected`.
        lifeline: a file of this process that they must see.

    Raises:
        RunError: with everything that is wrong, by worker.
    """
    wrong = []
    for worker, (version, sees) in backend.client.run(_look, lifeline).items():
        if version != code_version():
            wrong.append(f"{worker} has code {version}, need {code_version()}; install the same srcid there")
        if not sees:
            wrong.append(f"{worker} does not see {lifeline}; it must see the same folder of runs")
    if wrong:
        raise RunError("workers of the cluster cannot do the work:", wrong)


def _look(lifeline: str) -> tuple[str, bool]:
    return code_version(), os.path.exists(lifeline)


def _backend(client: Any) -> ParallelBackendBase:
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        """joblib's backend, that also tells of tasks which Dask gave up.

        A task is given up after several workers died of it, or with the scheduler. joblib 1.6 does not call back
        then, and waits for ever; here such a task has the result None.
        """

        @property
        def unfinished(self) -> list[Any]:
            """Dask's futures of the tasks that have no result yet."""
            return list(self._results)

        async def _collect(self) -> None:
            while self._continue:
                async for future, result in self.waiting_futures:
                    done, tell = self._results.pop(future), self._callbacks.pop(future)
                    result = result if future.status == "finished" else [None]
                    done.set_result(result)
                    tell(result)
                await asyncio.sleep(0.01)

    return Backend(client=client)
