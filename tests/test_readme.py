"""The README says what is true: its snippets run, and the files and commands it names exist."""

import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_python_snippets_run_one_after_the_other(tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(snippets) == 2
    code = "\n".join(snippets) + "\nassert table.code(layer=1, modality='sound').shape == (60, 10)\n"
    code += (
        "from srcid import runs\nassert runs.ready() == run and len(runs.table()) == 1 == len(runs.collect().params)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "SRCID_RUNS"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_the_example_with_own_data_is_short():
    [own] = [s for s in re.findall(r"```python\n(.*?)```", TEXT, re.S) if "FeatureStore.create" in s]
    assert len(own.strip().splitlines()) <= 10


@pytest.mark.parametrize(
    "page", ["README.md", "SECURITY.md", "docs/extending.md", "docs/measurements.md", "docs/cluster.md"]
)
def test_named_files_exist(page):
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`((?:srcid|notebooks|tests|benchmarks|docs|data)/[\w./-]+)`", text))
    links = re.findall(r"\]\(((?!http)[\w./-]+\.\w+)\)", text)  # relative to the page
    named |= {os.path.normpath(Path(page).parent / link) for link in links}
    named -= {"data/mine"}
    assert named and (page != "README.md" or len(named) >= 12)
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_the_first_two_screens_hold_problem_picture_commands_and_notebooks():
    first = "\n".join(TEXT.splitlines()[:42])
    assert re.search(r"!\[[^]]+\]\(docs/results/[\w-]+\.(png|webp)\)", first)
    assert "./lab run" in first and "./lab test" in first
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert [name for name in re.findall(r"^\| `(\w+)` \|", first, re.M) if name[0].isdigit()] == notebooks


def test_lab_commands_exist():
    script = (ROOT / "lab").read_text()
    commands = set(re.findall(r"\./lab (\w+)", TEXT))
    assert {"run", "test", "start"} <= commands
    assert not [c for c in commands if not re.search(rf"^{c}\)", script, re.M)]


def test_options_and_presets_in_commands_are_real():
    from srcid.params import PRESETS, Params

    commands = re.findall(r"(?:\./lab|srcid) run\s([^`#(]*)", TEXT)
    assert len(commands) >= 6
    for words in (command.split() for command in commands):
        notebook = next((word for word in words if re.match(r"\d\d_", word)), "02_train")
        cell = (ROOT / "notebooks" / f"{notebook}.py").read_text().split('tags=["parameters"]')[1].split("# %%")[0]
        known = {"name", *Params.model_fields, *re.findall(r"^(\w+):", cell, re.M)}
        for name, value in (word.split("=", 1) for word in words if "=" in word):
            assert name in known, (notebook, name)
            if name == "preset":
                assert all(part in PRESETS for part in value.split("+")), value
    table = re.findall(r"^\| (`[^|]+) \|", TEXT.split("## Presets")[1].split("##")[0], re.M)
    presets = {name for row in table for name in re.findall(r"`([\w-]+)`", row)}
    assert len(presets) >= 10 and presets <= set(PRESETS)
    table = re.findall(r"^\| (`[^|]+) \|", TEXT.split("## Quantisers")[1].split("##")[0], re.M)
    quantizers = {name for row in table for name in re.findall(r"`([\w-]+)`", row)}
    assert quantizers == set(typing.get_args(Params.model_fields["quantizer"].annotation))


@pytest.mark.parametrize("word", ["TODO", "FIXME", "TBD"])
def test_nothing_is_left_open(word):
    assert word not in TEXT
