"""Does the work that the campaign disturbs, in processes forked from this one.

Reads requests as lines of JSON: {"start": WORK, ...} forks a process that does it, {"wait": PID, "seconds": S} waits
and kills it when the time is over.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path


def train(folder: str, store: str) -> None:
    from srcid.features import FeatureStore
    from srcid.training.loop import train
    from tests.helpers import tiny_params

    train(FeatureStore.open(store), tiny_params(epochs=2, checkpoint_every=2, log_every=1), folder)


def encode(folder: str, store: str, run: str) -> None:
    from srcid.codes import encode
    from srcid.features import FeatureStore
    from srcid.training.loop import load

    encode(load(run), FeatureStore.open(store), folder)


def store(folder: str, clips: int = 400) -> None:
    from srcid.features import FeatureStore
    from tests.helpers import tiny_store

    if Path(folder).exists():
        FeatureStore.open(folder)
    else:
        tiny_store(Path(folder), clips=clips, grid=False)


def report(folder: str, notebook: str) -> None:
    from srcid.runs.report import html_report

    html_report([notebook], Path(folder) / "report.html")


def soak(folder: str, soak_for: float, cycles: int) -> None:
    """All that a session does, in cycles for so long, at least so often; after each, what the process holds."""
    import ipywidgets
    import psutil

    from srcid.codebook.browser.explorer import CodeExplorer
    from srcid.codebook.figures.usage import usage_summary
    from srcid.codebook.usage import code_usage
    from srcid.codes import CodeTable
    from srcid.training.figures import training_curves
    from srcid.training.log import read_log

    process, held, end = psutil.Process(), [], time.monotonic() + soak_for
    while len(held) < cycles or time.monotonic() < end:
        here = Path(folder) / f"cycle{len(held)}"
        tiny_store = str(here / "store")
        store(tiny_store, clips=40)
        train(str(here / "run"), tiny_store)
        encode(str(here / "codes"), tiny_store, str(here / "run"))
        table = CodeTable.open(here / "codes")
        training_curves(read_log(here / "run" / "metrics.jsonl")).to_json()
        usage_summary([code_usage(table)]).to_json()
        CodeExplorer(table).figure()
        shutil.rmtree(here)
        ipywidgets.Widget.close_all()  # as when a notebook is closed; until then views live, and what they show
        del table
        gc.collect()
        held.append([process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()])
    (Path(folder) / "held.json").write_text(json.dumps(held))


WORK = {"train": train, "encode": encode, "store": store, "report": report, "soak": soak}


def main() -> None:
    import torch

    import tests.helpers  # noqa: F401

    torch.set_num_threads(1)  # a process with threads cannot be forked safely
    begun: dict[int, tuple[float, Path]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            said = Path(os.environ.get("TMPDIR", "/tmp")) / f"campaign-{os.getpid()}-{len(begun)}"
            number = os.fork()
            if number == 0:
                _do(request.pop("start"), request, said)
            begun[number] = (time.monotonic(), said)
            answer = number
        else:
            answer = _wait(request["wait"], request["seconds"], *begun[request["wait"]])
        print(json.dumps(answer), flush=True)


def _do(work: str, arguments: dict, said: Path) -> None:
    """Do the work in this process and end it; an error goes into the file ``said``."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    warnings.simplefilter("ignore")
    code = 0
    try:
        WORK[work](**arguments)
    except BaseException as error:
        said.write_text(json.dumps([type(error).__name__, str(error)]))
        code = 1
    os._exit(code)


def _wait(number: int, seconds: float, begun: float, said: Path) -> dict:
    end, killed = begun + seconds, False
    while True:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            break
        if time.monotonic() >= end and not killed:
            os.kill(number, signal.SIGKILL)
            killed = True
        time.sleep(0.0005)
    error = json.loads(said.read_text()) if said.exists() else None
    said.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(status)
    return {"killed": code == -signal.SIGKILL, "code": code, "seconds": time.monotonic() - begun, "error": error}


if __name__ == "__main__":
    main()
