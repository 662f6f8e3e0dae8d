import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from srcid import files
from srcid.files import LARGEST_JSON, draft_of, read_json, whole_file
from srcid.runs.folders import Run, RunError


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with whole_file(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_time_do_not_mix(tmp_path):
    path, texts = tmp_path / "scores.json", [letter * 100_000 for letter in "abcd"]

    def write(text):
        with whole_file(path) as draft, draft.open("w") as file:
            for place in range(0, len(text), 1000):
                file.write(text[place : place + 1000])

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]


def test_modes_follow_the_umask_whoever_writes_the_draft(tmp_path):
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a") as draft:
            draft.unlink()
            draft.write_text("x")
            draft.chmod(0o600)  # as safetensors makes its files
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_drafts_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path):
    path = tmp_path / "scores[1].json"
    code = "import sys, pathlib; from srcid.files import draft_of; print(draft_of(pathlib.Path(sys.argv[1])), end='')"
    dead = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
    living, others = draft_of(path), [tmp_path / ".scores[1].json.abc", tmp_path / ".other.json.0-1-00000000"]
    for draft in (dead, living, *others):
        (tmp_path / draft).write_text("half")
    with whole_file(tmp_path / "another.json") as draft:
        draft.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "another.json", living, *others])


def test_many_files_in_a_folder_are_written_without_looking_through_it_each_time(tmp_path, monkeypatch):
    looked, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked.append(folder) or scandir(folder))
    for number in range(20):
        with whole_file(tmp_path / f"{number}.json") as draft:
            draft.write_text("new")
    assert looked == [tmp_path]


@pytest.mark.parametrize("kind", ["pipe", "device", "long", "deep", "folder"])
def test_json_is_read_from_files_alone(tmp_path, kind):
    path = tmp_path / "status.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "deep":
        path.write_text("[" * 100_000)
    else:
        with path.open("wb") as file:
            file.truncate(LARGEST_JSON + 1)
    said = {"long": "268,435,457 bytes, need 268,435,456", "deep": "nest too deep"}.get(kind, "no regular file")
    with pytest.raises(ValueError, match=said):
        read_json(path)
    with pytest.raises(RunError, match=r"status\.json is damaged"):
        Run.open(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "absent.json")


def test_who_looks_at_one_large_array_again_and_again_keeps_one_file_open(tmp_path, monkeypatch):
    import psutil

    np.save(tmp_path / "small.npy", np.arange(10))
    np.save(tmp_path / "large.npy", np.arange(10**6))
    before = psutil.Process().num_fds() if hasattr(os, "fork") else 0
    held = [(files.mapped(tmp_path / "small.npy"), files.mapped(tmp_path / "large.npy")) for _ in range(20)]
    assert all(not a.flags.writeable and np.array_equal(a, np.arange(len(a))) for pair in held for a in pair)
    assert not hasattr(os, "fork") or psutil.Process().num_fds() <= before + 1
    np.save(tmp_path / "new.npy", np.arange(10**6) + 1)
    (tmp_path / "new.npy").replace(tmp_path / "large.npy")
    assert files.mapped(tmp_path / "large.npy")[0] == 1 and held[0][1][0] == 0
