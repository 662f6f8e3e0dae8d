"""The examples of docs/extending.md run, and do what the page says of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"

CHECKS = """
from tests.house import check_house_style
assert store.shapes == {"sound": (12,), "image": (9,)} and store.clips == 120
assert open_data("tones", "stores", {"noise": 0.2}).path == store.path, "made once"
assert result.codes["sound"].shape == (4, 6, 1) and result.sizes == (32,)
assert table.codes(1, "image").shape == (120, 6, 1)
same = table.code(1, "sound") == table.code(1, "image")
assert same.mean() > 0.15, same.mean()  # of 16 codes; by chance below 0.1
codes = across[across["representation"] == "all"]
assert codes["score"].min() > 60, codes  # chance is 15
check_house_style(fig)
"""


def test_the_examples_run_one_after_the_other(tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(snippets) == 10
    code = "\n".join([*snippets, CHECKS])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # for the checks, which are not installed
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 120 for line in PAGE.read_text().splitlines())
