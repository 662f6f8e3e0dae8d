"""Runs: a folder for each, its parameters checked before it starts, executed headless through papermill."""

from srcid.runs.folders import Run, RunError, code_version, elsewhere, headless, home, identity, root
from srcid.runs.grid import expand
from srcid.runs.launch import Progress, RunFailed, execute
from srcid.runs.notebooks import check_job, check_parameters, find_notebook, open_store, working_copies
from srcid.runs.overview import RunWarning, fitting, latest, table
from srcid.runs.picker import RunIndex, pick, ready
from srcid.runs.requests import current
from srcid.runs.results import Collected, collect
from srcid.runs.sweep import Sweep, sweep, underway

__all__ = [
    "Collected", "Progress", "Run", "RunError", "RunFailed", "RunIndex", "RunWarning", "Sweep", "check_job",
    "check_parameters", "code_version", "collect", "current", "elsewhere", "execute", "expand", "find_notebook",
    "fitting", "headless", "home", "identity", "latest", "open_store", "pick", "ready", "root", "sweep", "table",
    "underway", "working_copies",
]  # fmt: skip
