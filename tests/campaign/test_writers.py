"""Writers that are killed, meet one another, or find no room: what they leave is whole, or is not there."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from srcid.codes import CodeTable
from srcid.features import FeatureStore
from srcid.training import checkpoint
from tests.campaign.conftest import FULL, dose
from tests.helpers import tiny_store
from tests.notebook_maker import make_notebook

pytestmark = pytest.mark.campaign
KINDS = ("train", "encode", "store", "report")


def content(kind: str, folder: Path) -> dict | None:
    """What a reader finds in ``folder``, read whole; None where nothing is there yet. Raises where it is damaged."""
    if kind == "train":
        if not checkpoint.exists(folder / "checkpoint"):
            return None
        step, tensors, _ = checkpoint.load(folder / "checkpoint")
        return {"step": step, **tensors}
    if kind == "encode":
        if not (folder / "manifest.json").exists():
            return None
        table = CodeTable.open(folder)
        table.verify()
        places = [(layer, m) for layer in range(1, table.layers + 1) for m in table.modalities]
        return {f"{layer}/{m}": table.codes(layer, m) for layer, m in places} | {"model": table.model}
    if kind == "store":
        if not folder.exists():
            return None
        store = FeatureStore.open(folder)
        return {"checksum": store.checksum, **{m: np.asarray(x) for m, x in store.features.items()}}
    page = folder / "report.html"
    return {"length": len(page.read_text()), "end": page.read_text()[-40:]} if page.exists() else None


def same(one: dict, other: dict) -> bool:
    def equal(a: object, b: object) -> bool:
        return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(np.array_equal(a, b))

    return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def undisturbed(workers, tmp_path_factory) -> dict:
    """Each writer's arguments, what it leaves when nothing disturbs it, and how long it takes."""
    root = tmp_path_factory.mktemp("undisturbed")
    tiny_store(root / "data", clips=40, grid=False)
    notebook = str(make_notebook(root / "book.ipynb", *["print('x' * 2000)"] * 40))
    arguments = {
        "train": {"store": str(root / "data")},
        "encode": {"store": str(root / "data"), "run": str(root / "train")},
        "store": {},
        "report": {"notebook": notebook},
    }
    made = {}
    for kind in KINDS:
        (root / "report").mkdir(exist_ok=True)
        done = workers.run(kind, folder=str(root / kind), **arguments[kind])
        assert done["error"] is None and done["code"] == 0, done
        made[kind] = (arguments[kind], content(kind, root / kind), done["seconds"])
    return made


def leftovers(kind: str, folder: Path) -> list[str]:
    """Drafts that a finished writer left beside or in its folder."""
    inside = [path for path in folder.rglob("*") if path.name.startswith((".", "tmp")) or path.suffix == ".partial"]
    beside = [path for path in folder.parent.iterdir() if path != folder and folder.name in path.name]
    return [path.name for path in inside + beside if not path.name.endswith(".lock")]


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment_what_is_there_is_whole_and_the_end_is_the_same(
    kind, workers, undisturbed, tmp_path, tally
):
    arguments, expected, seconds = undisturbed[kind]
    draw, kills, folder = random.Random(kind), 0, tmp_path / "work" / "it"
    seen = set()
    while kills < dose(1, 40):
        shutil.rmtree(folder.parent, ignore_errors=True)
        (folder if kind == "report" else folder.parent).mkdir(parents=True)
        while True:
            with tally(f"killed: {kind}"):
                done = workers.run(kind, draw.uniform(0, 1.1 * seconds), folder=str(folder), **arguments)
                assert done["killed"] or done["error"] is None, done
                found = content(kind, folder)
                assert found is None or kind == "train" or same(found, expected)
            kills += done["killed"]
            seconds *= 1.1 if done["killed"] else 0.7  # so that kills come before the end and after it, however busy
            seen.add(found is None)
            if not done["killed"] or kills % 8 == 0:
                break
        with tally(f"continued: {kind}"):
            done = workers.run(kind, folder=str(folder), **arguments)
            assert done["error"] is None and done["code"] == 0, done
            assert same(content(kind, folder), expected) and leftovers(kind, folder) == []
    assert not FULL or seen == {True, False}, "no kill came before there was anything, or none after"


@pytest.mark.parametrize("kind", KINDS)
def test_two_writers_at_once_leave_one_whole_result(kind, workers, undisturbed, tmp_path, tally):
    arguments, expected, _ = undisturbed[kind]
    for number in range(dose(1, 20)):
        folder = tmp_path / f"both{number}"
        if kind == "report":
            folder.mkdir()
        with tally(f"two writers: {kind}"):
            both = [workers.start(kind, folder=str(folder), **arguments) for _ in range(2)]
            ends = [workers.wait(process) for process in both]
            assert any(end["error"] is None for end in ends), ends
            for end in ends:  # one may be refused, in a sentence
                assert end["code"] in (0, 1)
                assert end["error"] is None or end["error"][0] in ("TrainingError", "StoreError", "CodeTableError"), end
            assert same(content(kind, folder), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_full_disk_one_sentence_says_so_and_nothing_half_is_left(
    kind, workers, undisturbed, tmp_path, small_disk, tally
):
    arguments, expected, _ = undisturbed[kind]
    draw, refused = random.Random(kind), 0
    for _ in range(dose(1, 12)):
        disk = small_disk(4 * draw.choice([1, 4, 8, 16, 32, 64]))
        folder = disk / "it"
        with tally(f"disk full: {kind}"):
            done = workers.run(kind, folder=str(folder if kind != "report" else disk), **arguments)
            target = folder if kind != "report" else disk
            found = content(kind, target)
            if done["error"] is None and done["code"] == 0:
                assert same(found, expected)
            else:
                refused += 1
                assert done["error"] is not None, f"ended by {done['code']}"  # and not by SIGBUS
                assert done["error"][0] in ("DiskError", "StoreError"), done
                assert re.search("o space left|make room", done["error"][1]), done
                assert found is None or kind == "train" or same(found, expected)
    assert refused > 0


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_may_be_written_one_sentence_says_so(kind, workers, undisturbed, small_disk, tally):
    arguments, _, _ = undisturbed[kind]
    disk = small_disk(8000)  # room enough
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, capture_output=True)
    with tally(f"read-only: {kind}"):
        done = workers.run(kind, folder=str(disk / "it" if kind != "report" else disk), **arguments)
        assert done["error"] is not None and done["error"][0] in ("DiskError", "StoreError"), done
        assert re.search("cannot be written|cannot write", done["error"][1]) and list(disk.iterdir()) == []
