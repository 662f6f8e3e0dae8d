"""Damaged and foreign folders, lists, parameters and names: read as they were, or refused in a sentence."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcid import runs
from srcid.codes import CodeTable
from srcid.features import FeatureStore
from srcid.features.manifest import checksum
from srcid.features.published.lists import ave_annotations, avvp_events, clotho_captions
from srcid.files import sealed, unsealed
from srcid.params import Params, resolve
from srcid.problems import ProblemsError
from srcid.training import checkpoint
from srcid.values import Word
from tests.campaign.conftest import tries
from tests.helpers import tiny_params, tiny_store, tiny_table
from tests.notebook_maker import make_notebook

pytestmark = pytest.mark.campaign

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["../../etc/passwd", "/etc/passwd", "CON", "\x00", "a" * 300, "<script>alert(1)</script>", "é"]),
    st.lists(st.integers(-3, 10**9), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store, a code table, a checkpoint and a run folder, all sound."""
    import torch

    from srcid.model.network import SRCID

    root = tmp_path_factory.mktemp("whole")
    store = tiny_store(root / "store", clips=10, steps=3, grid=False)
    tiny_table(store, root / "codes", codebook_size=4)
    torch.manual_seed(0)
    network = SRCID(store.shapes, tiny_params())
    checkpoint.save(root / "checkpoint", 3, {k: v.clone() for k, v in network.state_dict().items()}, {"params": {}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRCID_RUNS", str(root))
        run = runs.Run.create_or_open("run", "02_train", {"seed": 0})
        run.mark("running")
        run.write("scores.json", {"accuracy": 50.0})
        run.finish()
    return root


def read(kind: str, folder: Path) -> dict[str, np.ndarray]:
    """Everything a folder holds."""
    if kind == "store":
        store = FeatureStore.open(folder)
        found = {f"{part}/{k}": np.asarray(v) for part in ("features", "labels", "masks", "splits") for k, v in
                 getattr(store, part).items()}  # fmt: skip
        return found | {"ids": store.ids}
    if kind == "codes":
        table = CodeTable.open(folder)
        places = [(layer, m) for layer in range(1, table.layers + 1) for m in table.modalities]
        found = {f"{what}/{k}/{m}": np.asarray(getattr(table, what)(k, m)) for k, m in places for what in
                 ("codes", "distance", "code")}  # fmt: skip
        return found | {"ids": table.ids} | {f"label/{k}": v for k, v in table.labels.items()}
    if kind == "checkpoint":
        step, tensors, _ = checkpoint.load(folder)
        return {"step": np.array(step)} | {name: tensor.numpy() for name, tensor in tensors.items()}
    run = runs.Run.open(folder)
    parts = {"status": run.status, "params": run.params, "scores": run.read("scores.json")}
    return {name: np.array(json.dumps(part, sort_keys=True)) for name, part in parts.items()}


@pytest.mark.parametrize("kind", ["store", "codes", "checkpoint", "run"])
def test_a_damaged_folder_is_refused_or_read_as_it_was(kind, whole, tmp_path, tally, monkeypatch):
    monkeypatch.setattr(checkpoint.time, "sleep", lambda seconds: None)
    expected = read(kind, whole / kind)
    names = sorted(str(p.relative_to(whole / kind)) for p in (whole / kind).rglob("*") if p.is_file())

    @tries(40, 800)
    @given(
        name=st.sampled_from([name for name in names if not name.endswith(".lock")]),
        how=st.sampled_from(["flip", "cut", "grow", "delete", "empty"]),
        where=st.floats(0, 1, exclude_max=True),
        bit=st.integers(0, 7),
    )
    def damaged(name, how, where, bit):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole / kind, folder)
        file = folder / name
        content = bytearray(file.read_bytes())
        place = int(where * len(content))
        if how == "delete":
            file.unlink()
        else:
            if how == "flip" and content:
                content[place] ^= 1 << bit
            content = {"cut": content[:place], "grow": content + b"\0", "empty": b""}.get(how, content)
            file.write_bytes(content)
        with tally(f"damaged {kind}"), contextlib.suppress(ProblemsError):
            found = read(kind, folder)
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[k], expected[k], equal_nan=found[k].dtype.kind == "f") for k in expected)

    damaged()


@pytest.mark.parametrize("kind", ["store", "codes", "checkpoint", "run"])
def test_odd_values_in_manifests_are_refused_in_a_sentence(kind, whole, tmp_path, tally, monkeypatch):
    monkeypatch.setattr(checkpoint.time, "sleep", lambda seconds: None)
    file = {"store": "manifest.json", "codes": "manifest.json", "checkpoint": "latest.json", "run": "status.json"}[kind]
    sound = unsealed(json.loads((whole / kind / file).read_text()))

    @tries(40, 800)
    @given(path=st.lists(st.integers(0, 50), min_size=1, max_size=3), value=ODD)
    def odd(path, value):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole / kind, folder)
        content = json.loads(json.dumps(sound))
        part = content
        for step in path:
            keys = list(part) if isinstance(part, dict) else range(len(part))
            last, key = part, keys[step % len(keys)]
            part = part[key]
            if not isinstance(part, dict | list) or not part:
                break
        last[key] = value
        # by a stranger, who can make any checksum fit
        content = content | {"checksum": checksum(content)} if kind == "store" else sealed(content)
        (folder / file).write_text(json.dumps(content))
        with tally(f"odd manifest: {kind}"), contextlib.suppress(ProblemsError):
            read(kind, folder)

    odd()


@pytest.mark.parametrize("reader", [ave_annotations, avvp_events, clotho_captions], ids=lambda reader: reader.__name__)
def test_lists_are_read_or_refused_in_a_sentence(reader, tmp_path, tally):
    cell = st.one_of(st.sampled_from(["Dog", "0", "3", "10", "Dog,Cat", "0,1", '"', "", "é"]), st.text(max_size=5))
    head = {"avvp_events": "filename\tevent_labels\tonset\toffset", "clotho_captions": "file_name,caption_1,caption_2"}
    mark = {"ave_annotations": "&", "avvp_events": "\t", "clotho_captions": ","}[reader.__name__]

    @tries(40, 600)
    @given(rows=st.lists(st.lists(cell, max_size=6), max_size=5), with_head=st.booleans())
    def listed(rows, with_head):
        lines = [head[reader.__name__]] if with_head and reader.__name__ in head else []
        file = tmp_path / "list.csv"
        file.write_text("\n".join([*lines, *(mark.join(row) for row in rows)]), encoding="utf-8", errors="replace")
        with tally(f"odd list: {reader.__name__}"), contextlib.suppress(ProblemsError):
            reader(file)

    listed()


def test_parameters_are_taken_or_refused_in_a_sentence(tally):
    @tries(80, 1200)
    @given(st.dictionaries(st.sampled_from([*Params.model_fields, "nonsense"]), ODD, min_size=1, max_size=3))
    def given_values(values):
        with tally("odd parameters"), contextlib.suppress(ProblemsError):
            assert isinstance(resolve("demo", **values), Params)

    given_values()


def test_what_a_notebook_is_given_is_plain_or_refused_in_a_sentence(tmp_path, tally, monkeypatch):
    monkeypatch.setenv("SRCID_HOME", str(tmp_path))
    make_notebook(tmp_path / "notebooks" / "tiny.ipynb")
    odd = st.one_of(ODD, ODD.map(Word), st.binary(max_size=3), st.sampled_from([range(3), {1}, (1, (2, 3)), 1j]))
    names = st.sampled_from(
        ["seed", "count", "rate", "quick", "sizes", "options", "preset", "beta", "club_off", "nonsense"]
    )

    @tries(60, 1200)
    @given(st.dictionaries(names, odd, min_size=1, max_size=3))
    def given_values(values):
        with tally("odd parameters of notebooks"):
            try:
                found = runs.check_parameters("tiny", values)
            except ProblemsError as error:
                assert len(str(error)) < 3000
            else:
                assert json.loads(json.dumps(found, allow_nan=False)) == found

    given_values()


def test_names_of_runs_are_taken_or_refused_and_stay_below_the_folder(tmp_path, tally, monkeypatch):
    monkeypatch.setenv("SRCID_RUNS", str(tmp_path))
    hostile = st.sampled_from(
        ["..", ".", "", "a/b", "/etc", "CON", "nul\0", "x" * 300, "a\nb", "~", "-rf", "\ud800", "é"]
    )

    @tries(40, 600)
    @given(st.one_of(hostile, st.text(max_size=12)))
    def named(name):
        with tally("hostile names"), contextlib.suppress(ProblemsError):
            run = runs.Run.create_or_open(name, "02_train", {"name": "the same"}, identifier="0" * 64)
            assert run.folder.parent == tmp_path.resolve() and runs.Run.open(run.folder).name == run.name

    named()
