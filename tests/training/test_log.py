"""The log of a run is read and cut back from its end, whatever a killed process left of it."""

import json

import pytest

from srcid.training import log
from srcid.training.log import cut_log, read_log


def written(path, steps, **more):
    lines = [{"step": step, "seconds": step / 2, **more} for step in steps]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


@pytest.mark.parametrize("block", [7, 64, 2**16])
@pytest.mark.parametrize("step", [0, 1, 37, 99, 100, 1000])
def test_a_log_is_cut_to_the_lines_up_to_a_step(tmp_path, monkeypatch, block, step):
    monkeypatch.setattr(log, "_BLOCK", block)
    path = tmp_path / "metrics.jsonl"
    lines = written(path, range(1, 100), note="x" * 50)
    assert cut_log(path, step) == min(step, 99) / 2
    assert [json.loads(text) for text in path.read_text().splitlines()] == lines[:step] == read_log(path)


@pytest.mark.parametrize("torn", [b'{"step": 4, "sec', b"\xff\xfe\n", b"\n\n", b'[1]\n{"step": "5"}\n', b"[" * 10**5])
def test_what_a_killed_process_left_is_passed_over(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    lines = written(path, [1, 2, 3])
    sound = path.read_bytes()
    path.write_bytes(sound + torn)
    assert read_log(path) == lines and cut_log(path, 10) == 1.5 and path.read_bytes() == sound
    path.write_bytes(torn + b"\n" + sound)
    assert read_log(path) == lines and read_log(path, 2) == lines[:2]


def test_without_a_log_there_is_nothing_to_read(tmp_path):
    assert read_log(tmp_path / "none") == [] and cut_log(tmp_path / "none", 3) == 0.0
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty").touch()
    assert read_log(tmp_path / "empty") == [] and cut_log(tmp_path / "empty", 3) == 0.0


def test_of_a_long_log_every_nth_line_of_each_kind_and_every_opening_is_read(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    lines = []
    for step in range(1, 2001):
        lines.append({"step": step, "loss/total": 1.0} | ({"opened_by/2": "settled"} if step >= 777 else {}))
        lines += [{"step": step, "val/loss": 1.0}] if step % 50 == 0 else []
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(log, "MOST_BYTES", path.stat().st_size // 9)
    found = read_log(path)
    assert len(found) in range(180, 260) and found == [line for line in lines if line in found]
    assert sum("val/loss" in line for line in found) == 4
    assert next(line["step"] for line in found if "opened_by/2" in line) == 777


def test_only_the_end_of_a_long_log_is_looked_at_to_cut_it(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    written(path, range(20_000), note="x" * 100)
    looked = []
    monkeypatch.setattr(log, "_line", lambda text, line=log._line: looked.append(text) or line(text))
    cut_log(path, 19_990)
    assert len(looked) == 10 and read_log(path)[-1]["step"] <= 19_990
