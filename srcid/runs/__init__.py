"""Runs: a folder for each, its parameters checked before it starts, executed headless through papermill."""

from srcid.runs.folders import Run, RunError, code_version, current, elsewhere, headless, home, identity, root, stores
from srcid.runs.grid import expand
from srcid.runs.launch import Progress, RunFailed, execute
from srcid.runs.notebooks import check_job, check_parameters, find_notebook
from srcid.runs.overview import RunWarning, latest, ready, table
from srcid.runs.picker import RunIndex, pick
from srcid.runs.results import Collected, collect
from srcid.runs.sweep import Sweep, sweep

__all__ = [
    "Collected", "Progress", "Run", "RunError", "RunFailed", "RunIndex", "RunWarning", "Sweep", "check_job",
    "check_parameters", "code_version", "collect", "current", "elsewhere", "execute", "expand", "find_notebook",
    "headless", "home", "identity", "latest", "pick", "ready", "root", "stores", "sweep", "table",
]  # fmt: skip
