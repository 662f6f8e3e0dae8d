"""Runs on an existing Dask cluster: sent to its workers, whichever come and go."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from srcid.runs.folders import RunError, code_version
from srcid.runs.subprocess_run import PATIENCE, REFUSED, Order, Outcome, run_in_subprocess


class Cluster:
    """The cluster of the scheduler at ``address``; a context manager that disconnects.

    Leaving, waits until runs that nobody asks for any more have ended.

    Args:
        patience: seconds to wait for the scheduler, and for the first worker.

    Raises:
        RunError: Dask is not installed, nobody answers, or there is no worker.
    """

    def __init__(self, address: str, patience: float = 10.0):
        try:
            import distributed
        except ImportError:
            raise RunError(
                "found no package 'distributed', need it for a Dask cluster; say ./lab install cluster, or "
                "pip install 'srcid[cluster]'"
            ) from None
        # checked here, as a client that fails over it complains once more when it is collected
        if not re.fullmatch(r"(\w+://)?[^/\s]+:\d+", address):
            raise RunError(f"'{address}' is no address of a Dask scheduler; need its host and port, e.g. host:8786")
        try:
            self.client = distributed.Client(address, timeout=patience, set_as_default=False)
        except OSError as error:
            raise RunError(f"found no Dask scheduler at '{address}' ({error}); start one: dask scheduler") from None
        self.unfinished: set[Any] = set()
        try:
            self.client.wait_for_workers(1, timeout=patience)
        except TimeoutError:
            self.client.close()
            raise RunError(f"the cluster at {address} has no worker; start some: dask worker {address}") from None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        import distributed

        if self.unfinished and self.client.status == "running":
            with self.client.as_current(), contextlib.suppress(TimeoutError):
                distributed.wait(self.unfinished, timeout=PATIENCE)
        self.client.close()

    def check_workers(self, parent_lock: str) -> None:
        """Refuse a cluster whose workers cannot do the work of this process.

        Args:
            parent_lock: a file of this process that they must see.

        Raises:
            RunError: with everything that is wrong, by worker.
        """
        wrong = []
        for worker, (version, sees) in self.client.run(_look, parent_lock).items():
            if version != code_version():
                wrong.append(f"{worker} has code {version}, need {code_version()}; install the same srcid there")
            if not sees:
                wrong.append(f"{worker} does not see {parent_lock}; it must see the same folder of runs")
        RunError.check("workers of the cluster cannot do the work:", wrong)

    def outcomes(self, orders: Iterable[Order]) -> Iterator[Outcome]:
        """Send runs to the workers and yield how they went, in the order in which they end.

        A run whose worker dies goes to another one, and so does a run that a worker with other code refuses, which may
        have come later. Runs that Dask gives up, after several workers died of them or with the scheduler, are left
        out.
        """
        from distributed import as_completed

        sent = {self.client.submit(_on_worker, order, pure=False): order for order in orders}
        self.unfinished |= sent.keys()
        unfit: set[str] = set()
        ended = as_completed(sent, loop=self.client.loop)
        for future in ended:
            self.unfinished.discard(future)
            if future.status != "finished":
                continue
            worker, outcome = future.result()
            if outcome["status"] == REFUSED:
                unfit.add(worker)
                fit = [address for address in self.client.scheduler_info()["workers"] if address not in unfit]
                if fit:
                    order = sent[future]
                    again = self.client.submit(_on_worker, order, pure=False, workers=fit)
                    sent[again] = order
                    self.unfinished.add(again)
                    ended.add(again)
                    continue
                outcome = Outcome({**outcome, "status": "failed"})
            yield outcome


def _look(parent_lock: str) -> tuple[str, bool]:
    return code_version(), os.path.exists(parent_lock)


def _on_worker(order: Order) -> tuple[str, Outcome]:
    from distributed import get_worker

    return get_worker().address, run_in_subprocess(order)
