"""One run in a process of its own, which stops when whoever asked for it is gone.

Three processes stand behind a run of a sweep: the one that asked, the run's own, and the notebook's kernel. The
run's own holds a pipe from the one that asked. However that one ends, killed or not, the operating system closes
the pipe; then the run is interrupted, so that its notebook can save, and the kernel is shut down. A kernel whose
process is killed notices so within a second and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any, TypedDict

from filelock import FileLock, Timeout

from srcid.runs.folders import RunError, code_version
from srcid.runs.launch import RunFailed, run_notebook
from srcid.runs.requests import Busy, claimed, request

PATIENCE = 90.0  # seconds that a run has to save and end when it is told to
REFUSED = "refused"  # what a process with other code says


class Order(TypedDict):
    """What is sent to the process that carries out a run; JSON, as it may be sent to another machine."""

    name: str
    notebook: str
    given: dict[str, Any]
    identity: str
    code: str
    wait: bool  # for another process that holds the run
    environment: dict[str, str]  # of the run
    defaults: dict[str, str]  # the same, unless the environment of whoever starts it says otherwise
    parent_lock: str  # file locked by the sweep as long as it lives


class Outcome(TypedDict):
    """How it went: a status of a run, ``busy`` if another process holds it, :data:`REFUSED`, or ``failed``."""

    name: str
    status: str
    error: str
    seconds: float


def run_in_subprocess(order: Order) -> Outcome:
    """Execute a run that has not finished in a process of its own, and return how it went.

    Stops the run when the sweep is over or gone, and when interrupted.
    """
    begun = time.monotonic()
    if not lives(order["parent_lock"]):
        return Outcome(name=order["name"], seconds=0.0, status="interrupted", error="the sweep is over")
    environment = {**order["defaults"], **os.environ, **order["environment"]}
    command = [sys.executable, "-c", "from srcid.runs.subprocess_run import main; main()"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the sweep, which tells its runs
        )
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order).encode() + b"\n")
                process.stdin.flush()
            while process.poll() is None and lives(order["parent_lock"]):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.25)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        answer = process.stdout.read()
        process.stdout.close()
        errors.seek(0)
        found = _answer(answer) or _died(process.returncode, errors.read())
    return Outcome(name=order["name"], seconds=time.monotonic() - begun, **found)


def _answer(text: bytes) -> dict[str, str] | None:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _died(status: int, said: bytes) -> dict[str, str]:
    cause = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
    last = "".join(f"\n    {line}" for line in said.decode(errors="replace").splitlines()[-5:])
    return {"status": "failed", "error": f"its process ended {cause}{last}"}


def lives(parent_lock: str) -> bool:
    """Whether the sweep that locked this file still does."""
    if not os.path.exists(parent_lock):
        return False
    try:
        with FileLock(parent_lock, timeout=0):
            return False
    except Timeout:
        return True


def main() -> None:
    """Read an order from standard input, execute it, and write the outcome to standard output."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)  # what anything else prints, kernels included
        order: Order = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_stop_when_asked, daemon=True).start()
        json.dump(_outcome(order), answer)


def _stop_when_asked() -> None:
    os.read(0, 1)  # nothing more comes but the end of the pipe
    os.kill(os.getpid(), signal.SIGINT)


def _outcome(order: Order) -> Mapping[str, str]:
    if code_version() != order["code"]:
        code = f"the code of srcid is another one here (found {code_version()}, need {order['code']})"
        return {"status": REFUSED, "error": f"{code}; start the sweep again, with the same srcid everywhere"}
    try:
        asked = request(order["notebook"], order["given"])
        if asked.identity != order["identity"]:
            raise RunError("its data, or the notebook's parameters, changed since the sweep began; start it again")
        run = asked.open()
        with claimed(run, wait=order["wait"]):
            if run.status["status"] != "finished":  # somebody else may have been faster
                with open(os.devnull, "w") as nowhere:
                    run_notebook(asked, run, nowhere)
        status = run.status["status"]
        return {"status": status, "error": "" if status == "finished" else "it stopped before its end"}
    except Busy as error:
        return {"status": "busy", "error": str(error)}
    except (RunFailed, ValueError) as error:
        return {"status": "failed", "error": str(error)[-20_000:]}
    except KeyboardInterrupt:
        return {"status": "interrupted", "error": "stopped with the sweep"}
