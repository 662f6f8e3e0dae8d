"""Training: the loop, its log, and resuming where a run was cut off.

A run that is killed at any moment and started again ends with the same weights, bit for bit on CPU, as one left
in peace: batches depend only on (seed, epoch), and the checkpoint holds every other state.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from srcid.features import FeatureStore
from srcid.files import disk_errors
from srcid.model.network import SRCID
from srcid.params import Params
from srcid.training import checkpoint, distributed
from srcid.training.log import cut_log, read_log
from srcid.training.ranks import Ranks
from srcid.training.requirements import TrainingError, pick_device
from srcid.training.snapshots import keep_epoch
from srcid.training.trainer import Metrics, Trainer

__all__ = ["Trainer", "TrainingError", "TrainingResult", "cost", "load", "train"]


@dataclass(frozen=True)
class TrainingResult:
    """How a call of :func:`train` ended.

    Attributes:
        status: ``finished``, or ``stopped`` with a checkpoint from which the next call goes on.
        step: steps done; ``steps``: steps of the whole run.
        opened: step at which each layer opened (layer 1 at 0), None while closed.
        opened_by: why it did, one of :data:`srcid.training.warmstart.REASONS`, None while closed.
    """

    status: str
    step: int
    steps: int
    opened: tuple[int | None, ...]
    opened_by: tuple[str | None, ...]


def train(
    store: FeatureStore,
    params: Params,
    folder: str | Path,
    on_metrics: Callable[[Metrics], None] | None = None,
    stop: threading.Event | None = None,
) -> TrainingResult:
    """Train SRCID on ``store`` into the run folder ``folder``, going on where an earlier call was cut off.

    Writes ``metrics.jsonl`` (one json object a line, see :func:`describe` for the names), ``checkpoint/`` and
    ``epochs/`` (:mod:`srcid.training.snapshots`). With ``params.processes`` above 1 that many processes share every
    batch, with the result of one.

    Args:
        on_metrics: called with every line of metrics, and for those replayed from before a resumption.
        stop: set it to end after the step in progress, with a checkpoint. SIGINT and SIGTERM do the same.

    Raises:
        TrainingError: nothing was trained, a value became non-finite, or one of several processes ended; the last good
            checkpoint is kept.
        DiskError: the disk is full or cannot be written; the last good checkpoint is kept.
    """
    folder, stop, tell = Path(folder), stop or threading.Event(), on_metrics or (lambda line: None)
    with _isolated(params), _stop_on_signals(stop), disk_errors(folder):
        trainer = Trainer(store, params, Ranks(0, params.processes))
        if checkpoint.exists(folder / "checkpoint"):
            trainer.restore(folder / "checkpoint")
        if trainer.done:  # nothing is written, so that several processes may read a finished run
            for line in read_log(folder / "metrics.jsonl", trainer.step):
                tell(line)
        elif params.processes > 1:
            with _alone_in(folder):
                cut_log(folder / "metrics.jsonl", trainer.step)
                for line in read_log(folder / "metrics.jsonl"):
                    tell(line)
            distributed.launch(store, params, folder, tell, stop)
            if checkpoint.exists(folder / "checkpoint"):
                trainer.restore(folder / "checkpoint")
        else:
            with _alone_in(folder):
                if checkpoint.exists(folder / "checkpoint"):
                    trainer.restore(folder / "checkpoint")
                _loop(trainer, folder, tell, stop)
    status = "finished" if trainer.done else "stopped"
    return TrainingResult(status, trainer.step, trainer.steps, tuple(trainer.warm.opened), tuple(trainer.warm.reasons))


def take_part(folder: Path, stop: threading.Event) -> None:
    """Train in ``folder`` as one of the processes that a launcher has started together.

    Raises:
        TrainingError: as :func:`train` does.
    """
    with distributed.stopped_with_parent(stop):
        store, params, ranks = distributed.join(folder)
        alone = _alone_in(folder) if ranks.rank == 0 else contextlib.nullcontext()
        with _isolated(params), _stop_on_signals(stop), disk_errors(folder), alone:
            trainer = Trainer(store, params, ranks)
            if checkpoint.exists(folder / "checkpoint"):
                trainer.restore(folder / "checkpoint")
            _loop(trainer, folder, lambda line: None, stop)
    torch.distributed.destroy_process_group()


def _loop(trainer: Trainer, folder: Path, tell: Callable[[Metrics], None], stop: threading.Event) -> None:
    """Step, log and save from the trainer's step to the last, or until told to stop.

    Of several processes the first writes; all stop, or go on, together.
    """
    params, leads = trainer.params, trainer.ranks.rank == 0
    log = folder / "metrics.jsonl" if leads else Path(os.devnull)
    before = cut_log(log, trainer.step) if leads else 0.0
    for line in read_log(log) if leads else ():
        tell(line)
    began = last = time.perf_counter()
    clips = 0
    with log.open("a", buffering=1) as file:  # line by line: somebody may follow

        def write(metrics: Metrics) -> None:
            line = {"step": trainer.step, "epoch": trainer.step / trainer.per_epoch}
            line["seconds"] = round(before + time.perf_counter() - began, 3)
            line |= {k: _number(v) for k, v in metrics.items()}
            file.write(json.dumps(line) + "\n")
            tell(line)

        def save() -> None:
            _require_finite(trainer)
            trainer.agree()
            if leads:
                trainer.save(folder / "checkpoint")

        for features, masks in trainer.batches():
            if trainer.ranks.any(stop.is_set()):
                break
            metrics = trainer.advance(features, masks)
            clips += trainer.clips
            if trainer.step % params.log_every == 0 or trainer.done:
                now = time.perf_counter()
                metrics["clips_per_second"] = round(clips / (now - last), 1)
                last, clips = now, 0
                write(metrics)
            if trainer.step % trainer.per_epoch == 0:
                write(trainer.validate())
                if leads:
                    keep_epoch(folder, trainer)
            if trainer.step % params.checkpoint_every == 0 or trainer.done:
                save()
        if not trainer.done:
            save()


@torch.no_grad()
def _require_finite(trainer: Trainer) -> None:
    """Refuse to save what cannot be gone on from: weights, and what they make of validation clips, must be finite.

    Weights alone may still be finite in the step in which training diverges.

    Raises:
        TrainingError: something is not finite.
    """
    tensors = {**trainer.network.state_dict(), **checkpoint.flatten_optimizer("main", trainer.main.state_dict())}
    found = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    rows = trainer.store.splits["val"][: trainer.params.batch_size]
    if not found and trainer.step and len(rows):
        features, masks = trainer.tensors(rows)
        trainer.network.eval()
        with trainer.autocast(), torch.random.fork_rng():
            outputs = trainer.network(features, masks, trainer.warm.layers_open)
        trainer.network.train()
        for k, output in enumerate(outputs, 1):
            for what, values in (("features", output.general), ("reconstruction", output.reconstruction)):
                for m, value in values.items():
                    valid = value if masks is None else value[masks[m]]
                    found += [] if torch.isfinite(valid).all() else [f"{what} of {m} in layer {k}"]
    if found:
        raise TrainingError(
            f"step {trainer.step}: training has diverged, {len(found)} tensors are not finite (first: {found[0]}); "
            f"nothing was saved, and what was saved before stays; try a lower lr (now {trainer.params.lr})"
        )


def load(folder: str | Path, device: str = "cpu") -> SRCID:
    """Return the network trained in the run folder ``folder``, in eval mode.

    Raises:
        checkpoint.CheckpointError: there is none, or it is damaged.
    """
    _, tensors, state = checkpoint.load(Path(folder) / "checkpoint")
    with checkpoint.read_from(Path(folder) / "checkpoint"):
        params = Params(**state["params"])
        network = SRCID({m: tuple(shape) for m, shape in state["shapes"].items()}, params)
        network.to(pick_device(device), torch.float64 if params.precision == "float64" else torch.float32)
        checkpoint.put(network, tensors)
    return network.eval()


def cost(network: SRCID, metrics: Iterable[Metrics]) -> dict[str, float]:
    """Return what a model costs: its parameters, the median time of a training step in ms, and memory in MB.

    The time is that of the machine as it was, with whatever else it did; compare within one sweep only. Memory is the
    largest resident size of this process so far, libraries included; it is left out where the system does not tell.
    """
    rates = [line["clips_per_second"] for line in metrics if line.get("clips_per_second")]
    milliseconds = 1000 * network.params.batch_size / statistics.median(rates) if rates else float("nan")
    spent = {"parameters": sum(p.numel() for p in network.parameters()), "ms_per_step": round(milliseconds, 2)}
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
        spent["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
    return spent


def _number(value: Any) -> float | int | str:
    """Round to 7 significant digits: what float32 holds; words stay."""
    value = value.item() if isinstance(value, Tensor) else value
    return value if isinstance(value, int | str) else float(f"{value:.7g}")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, as two processes in one would spoil both; it ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "training.lock", timeout=0):
            yield
    except Timeout:
        raise TrainingError(
            f"another process is training in {folder}; wait for it, stop it, or choose another run name"
        ) from None


@contextlib.contextmanager
def _isolated(params: Params) -> Iterator[None]:
    """Leave the caller's random state and thread count as they were."""
    threads = torch.get_num_threads()
    if params.threads:
        torch.set_num_threads(params.threads)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into ``stop`` while training runs in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
