"""The kernel of a run: what it is started with, and how one that outlived its run is found and ended."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srcid.files import whole_file

RECORD, LOG = "kernel.json", "kernel.log"


def kernel_manager(folder: Path, environment: Mapping[str, str]) -> type:
    """Return a class of kernel manager that starts kernels for the run in ``folder`` and records each in it.

    What a kernel says on its standard error goes to ``kernel.log``.

    Args:
        environment: of the kernel, beside that of this process.
    """
    from jupyter_client import AsyncKernelManager

    class RunKernelManager(AsyncKernelManager):
        async def start_kernel(self, **options: Any) -> None:
            with (folder / LOG).open("wb") as log:
                await super().start_kernel(**{"env": {**os.environ, **environment}, "stderr": log} | options)
            _record(folder, self.provisioner.pid)

    return RunKernelManager


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
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
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
        with whole_file(folder / RECORD) as draft:
            draft.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
