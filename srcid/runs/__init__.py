"""Runs: a folder for each, its parameters checked before it starts, executed headless through papermill."""

from srcid.runs.folders import (
    Run,
    RunError,
    code_version,
    current,
    headless,
    home,
    identity,
    root,
    stores,
)
from srcid.runs.launch import Progress, RunFailed, execute
from srcid.runs.notebooks import check_job, check_parameters, find_notebook
from srcid.runs.overview import RunWarning, latest, ready, table

__all__ = [
    "Progress", "Run", "RunError", "RunFailed", "RunWarning", "check_job", "check_parameters", "code_version",
    "current", "execute", "find_notebook", "headless", "home", "identity", "latest", "ready", "root", "stores",
    "table",
]  # fmt: skip
