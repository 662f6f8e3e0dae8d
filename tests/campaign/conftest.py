"""The campaign: writers killed, disks full, two writers at once, damaged folders, hostile words; all of it counted.

A small dose runs with every test run; ``./lab campaign`` gives the full one. The table at the end says for each kind of
attack how many were tried, how many held and how many failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

FULL = os.environ.get("SRCID_CAMPAIGN") == "full"
_TALLY: dict[str, list[int]] = defaultdict(lambda: [0, 0])


def dose(small: int, full: int) -> int:
    """How often to try: ``small`` in every test run, ``full`` in ``./lab campaign``."""
    return full if FULL else small


def tries(small: int, full: int) -> settings:
    """Hypothesis settings for so many inputs: always the same few in every test run, new ones in the full dose."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=dose(small, full), derandomize=not FULL, deadline=None, suppress_health_check=checks, database=None
    )


class Tally:
    """Counts of one kind of attack: ``with tally("kind"): ...`` holds if nothing is raised."""

    def __call__(self, kind: str) -> Tally:
        self.kind = kind
        return self

    def __enter__(self) -> None:
        _TALLY[self.kind][0] += 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        _TALLY[self.kind][1] += error is None


@pytest.fixture(scope="session")
def tally() -> Tally:
    return Tally()


def pytest_terminal_summary(terminalreporter) -> None:
    if not _TALLY:
        return
    terminalreporter.section("campaign" if FULL else "campaign, small dose")
    terminalreporter.write_line(f"{'attack':44s} {'tried':>7s} {'held':>7s} {'failed':>7s}")
    for kind, (tried, held) in sorted(_TALLY.items()):
        terminalreporter.write_line(f"{kind:44s} {tried:7d} {held:7d} {tried - held:7d}")
    tried, held = (sum(column) for column in zip(*_TALLY.values(), strict=True))
    terminalreporter.write_line(f"{'all':44s} {tried:7d} {held:7d} {tried - held:7d}")


class Workers:
    """Processes that do one piece of work each, forked from one that has everything imported (see worker.py)."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.campaign.worker"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2], **pipes)

    def start(self, work: str, **arguments: object) -> int:
        """Begin ``work`` of worker.py and return the number of its process."""
        return self._ask({"start": work, **arguments})

    def wait(self, number: int, seconds: float = 120) -> dict:
        """Wait for it, killing it after ``seconds``: ``killed``, ``seconds``, and the ``error`` it ended with."""
        return self._ask({"wait": number, "seconds": seconds})

    def run(self, work: str, seconds: float = 120, **arguments: object) -> dict:
        return self.wait(self.start(work, **arguments), seconds)

    def _ask(self, request: dict):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    made = Workers()
    yield made
    made.close()


@pytest.fixture
def small_disk(tmp_path) -> Iterator:
    """Mount a disk of so many kilobytes, where that is allowed: ``small_disk(300)`` returns its folder."""
    mounted = []

    def mount(kilobytes: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a small disk cannot be mounted here; root of a machine of its own can")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=False)
