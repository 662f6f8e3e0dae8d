"""Training by several processes: started by torch's elastic launcher, followed by its log, ended together.

The launcher runs in a thread of the process that asks. Each worker is ``python -m srcid.training FOLDER``, which
``torchrun`` may start as well, on several machines (docs/distributed.md). What to train on stands in the folder.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from srcid.features import FeatureStore
from srcid.files import read_json, write_json
from srcid.params import Params
from srcid.training import checkpoint
from srcid.training.ranks import Ranks
from srcid.training.requirements import TrainingError, pick_device

REQUEST = "training.json"
OUTPUT = "workers.log"  # what workers print, tracebacks too
_POLL = 0.2  # seconds between two looks at the log


def launch(
    store: FeatureStore,
    params: Params,
    folder: Path,
    tell: Callable[[dict[str, Any]], None],
    stop: threading.Event,
) -> None:
    """Train in ``folder`` by several processes until the end or ``stop``; tell every new line of the log.

    Raises:
        TrainingError: there are too few GPUs, or a process failed or was killed; what the last checkpoint holds stays.
    """
    processes, there = params.processes, torch.cuda.device_count()
    if pick_device(params.device).type == "cuda" and there < processes:
        raise TrainingError(f"found {there} GPUs for processes={processes}, need one each; lower processes")
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher import LaunchConfig, elastic_launch

    write_json(folder / REQUEST, {"store": str(store.path.resolve()), "params": params.model_dump(mode="json")})
    log = folder / "metrics.jsonl"
    position = log.stat().st_size if log.exists() else 0
    with tempfile.TemporaryDirectory() as logs, _quiet(), ThreadPoolExecutor(1) as pool:
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0, run_id=uuid.uuid4().hex,
            rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )  # fmt: skip
        job = pool.submit(
            elastic_launch(config, sys.executable), "-m", "srcid.training", str(folder), str(folder / OUTPUT)
        )
        try:
            while not wait([job], timeout=_POLL).done:
                position = _follow(log, position, tell)
                if stop.is_set():
                    _end(folder)
            _follow(log, position, tell)
        finally:
            while not wait([job], timeout=_POLL).done:  # whatever interrupted this: nobody is left behind
                _end(folder)
        try:
            job.result()
        except ChildFailedError as error:
            if not stop.is_set():
                raise TrainingError(_reason(error.failures, processes, folder)) from None


def join(folder: Path) -> tuple[FeatureStore, Params, Ranks]:
    """Join the processes that were started with this one, and return what they are to train.

    Raises:
        TrainingError: nothing is to be trained in ``folder``.
    """
    try:
        asked = read_json(folder / REQUEST)
    except OSError:
        raise TrainingError(
            f"{folder} has no {REQUEST}; begin the training with processes=2 or more, stop it, then go on by torchrun"
        ) from None
    params = Params(**asked["params"])
    on_gpu = pick_device(params.device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not params.threads:  # the processes of a machine share its cores
        torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    return FeatureStore.open(asked["store"]), params, Ranks.joined()


@contextmanager
def stopped_with_parent(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` when the process that started this one ends, however it ends."""
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            if os.getppid() != parent:
                stop.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(log: Path, position: int, tell: Callable[[dict[str, Any]], None]) -> int:
    """Tell the whole lines of ``log`` from ``position`` on; return where the next one begins."""
    with suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                break
            position += len(line)
            tell(json.loads(line))
    return position


def _end(folder: Path) -> None:
    """Ask the workers to stop after the step in progress, with a checkpoint."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.cmdline()[-3:-1] == ["srcid.training", str(folder)]:
                child.terminate()


def _reason(failures: Mapping[int, Any], processes: int, folder: Path) -> str:
    """Say in one sentence why the processes ended: a process that was killed takes the others with it."""
    said = {rank: f.message["message"] for rank, f in failures.items() if isinstance(f.message, dict)}
    # SIGTERM is what the launcher sends to those that are left
    killed = [rank for rank, f in failures.items() if f.exitcode < 0 and f.exitcode != -signal.SIGTERM]
    ours = [text.partition(": ")[2] for text in said.values() if text.startswith("TrainingError: ")]
    if ours:
        return ours[0]
    rank = min(killed or said or failures)
    failure = failures[rank]
    said_last = said.get(rank, f"see {OUTPUT} beside its log")
    how = f"was killed ({failure.signal_name()})" if killed else f"failed ({said_last})"
    there = checkpoint.exists(folder / "checkpoint")
    kept = f"step {checkpoint.load(folder / 'checkpoint')[0]} is saved" if there else "no step was saved yet"
    return f"process {rank} of {processes} {how}; {kept}, and the same command goes on from there"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the launcher from logging what is said here in one sentence."""
    logger = logging.getLogger("torch.distributed.elastic")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
