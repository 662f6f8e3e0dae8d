"""The kernel of a run: what it is started with, and how one that outlived its run is found and ended."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from srcid.files import read_json, sealed, write_json

RECORD, LOG = "kernel.json", "kernel.log"
_IDLE = 2.0  # seconds that a kernel without work has to end, half of them after a polite request


def kernel_manager(folder: Path, environment: Mapping[str, str], busy: Callable[[], bool]) -> type:
    """Return a class of kernel manager that starts kernels for the run in ``folder`` and records each in it.

    What a kernel says on its standard error goes to ``kernel.log``.

    Args:
        environment: of the kernel, beside that of this process.
        busy: whether a cell is running, and so may have something to save when the kernel is asked to end.
    """
    from jupyter_client import AsyncKernelManager

    class RunKernelManager(AsyncKernelManager):
        processes: ClassVar[list[Any]] = []  # that it has started

        async def start_kernel(self, **options: Any) -> None:
            with (folder / LOG).open("wb") as log:
                await super().start_kernel(**{"env": {**os.environ, **environment}, "stderr": log} | options)
            self.processes.append(self.provisioner.process)
            _record(folder, self.provisioner.pid)

        async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
            if not busy():  # ipykernel, now and then, waits ten seconds for a thread of its own that has ended already
                self.shutdown_wait_time = min(self.shutdown_wait_time, _IDLE)
            await super().shutdown_kernel(now=now, restart=restart)

    return RunKernelManager


def how_it_died(manager: type, folder: Path) -> str:
    """What is known of the end of a kernel: its exit status or signal, memory, and what it said last.

    Args:
        manager: of :func:`kernel_manager`.
    """
    status = manager.processes[-1].poll() if manager.processes else None
    said = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip() if (folder / LOG).exists() else ""
    words = "the kernel died"
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            words += f" by signal {signal.Signals(-status).name}"
        words += _memory() if status == -signal.SIGKILL else ""
    elif status is not None:
        words += f" with exit status {status}"
    return f"{words}; what it said last is in {folder / LOG}" if said else f"{words}, and said nothing"


def _memory() -> str:
    """How much memory kernels have used; a system that runs out of it kills without a word."""
    import psutil

    try:
        import resource
    except ImportError:  # not on Windows
        return ""
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    memory = psutil.virtual_memory()
    return (
        f", as a system out of memory does it (at most {most / 1e9:.1f} GB were used; the machine has "
        f"{memory.total / 1e9:.1f} GB, of which {memory.available / 1e9:.1f} are free now)"
    )


def forget(folder: Path) -> None:
    """Drop the record of a kernel that has ended, and its log if it said nothing."""
    (folder / RECORD).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if not (folder / LOG).stat().st_size:
            (folder / LOG).unlink()


def end_leftover(folder: Path) -> None:
    """End the kernel that was started for a run and outlived the process that started it, and what it started.

    A process is taken for that kernel only if it runs on this machine under the recorded number, began at the
    recorded time, and has the recorded command line, which names a connection file of its own. Its environment,
    which anybody may set, says nothing.
    """
    import psutil

    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        found = read_json(folder / RECORD)
        process = psutil.Process(found["pid"])
        same = abs(process.create_time() - found["started"]) < 1 and process.cmdline() == found["command"]
        if found["host"] == platform.node() and same and process.pid != os.getpid():
            family = [process, *process.children(recursive=True)]
            for member in family:
                with contextlib.suppress(psutil.Error):
                    member.kill()  # psutil makes sure that the number was not given to another process since
            psutil.wait_procs(family, timeout=10)
    forget(folder)


def _record(folder: Path, pid: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):  # it ended at once, which shows soon
        process = psutil.Process(pid)
        about = {"pid": pid, "started": process.create_time(), "command": process.cmdline(), "host": platform.node()}
        write_json(folder / RECORD, sealed(about))
