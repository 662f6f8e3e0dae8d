"""One process that trains, encodes, counts and draws for ten minutes: memory, open files and threads stay as they are.

In every test run it does so a few times only.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.campaign.conftest import dose

pytestmark = pytest.mark.campaign
GROWTH = 60  # MB that memory may grow by after a third of the cycles: 151 cycles once took 22 MB


def test_a_long_session_holds_no_more_than_a_short_one(workers, tmp_path, tally):
    done = workers.run("soak", seconds=900, folder=str(tmp_path), soak_for=dose(0, 600), cycles=dose(3, 20))
    assert done["error"] is None and done["code"] == 0, done
    held = np.array(json.loads((tmp_path / "held.json").read_text()))
    warm = len(held) // 3
    print(f"{len(held)} cycles: {held[warm, 0]:.0f} to {held[-1, 0]:.0f} MB, {held[-1, 1]:.0f} files open")
    for name, column, most in (("memory", 0, GROWTH), ("files", 1, 0), ("threads", 2, 0)):
        with tally(f"{name} over a long session"):
            assert held[warm:, column].max() - held[warm, column] <= most, held[:, column]
