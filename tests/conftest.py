"""Fixtures shared by the tests of all packages."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the reference vectors and real sample files, beside the project or where SRCID_SHARED says."""
    folder = Path(os.environ.get("SRCID_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not folder.is_dir():
        message = f"no reference data at {folder}; set SRCID_SHARED to the folder that holds golden/ and data/"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
