"""A code table is whole and right, or it is refused: several writers, kills, damage, full disks."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from srcid.codes import CodeTable, CodeTableError, encode
from srcid.files import DiskError, fingerprints
from srcid.model.network import SRCID
from tests.helpers import tiny_params, tiny_store, tiny_table

WRITER = """
import sys
from pathlib import Path
from srcid.codes import encode
from srcid.features import FeatureStore
from tests.codes.test_codes_integrity import network
store = FeatureStore.open(sys.argv[1])
networks = [network(store, seed) for seed in (0, 1)]
Path(sys.argv[3]).write_text("")
while not Path(sys.argv[4]).exists():
    pass
for turn in range(int(sys.argv[5])):
    encode(networks[turn % 2], store, sys.argv[2]).verify()
"""


def network(store, seed):
    torch.manual_seed(seed)
    net = SRCID(store.shapes, tiny_params())
    net({m: torch.from_numpy(x) for m, x in store.batch(store.splits["train"]).items()})
    return net.eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("store") / "tiny", grid=False)


@pytest.fixture
def table(store, tmp_path):
    return encode(network(store, 0), store, tmp_path / "codes")


def contents(table):
    return {(k, m): np.array(table.codes(k, m)) for k in (1, 2) for m in table.modalities}


def equal(one, two):
    return all(np.array_equal(one[key], two[key]) for key in one)


def test_two_writers_and_a_reader_never_see_a_mixture(store, tmp_path):
    """10 pairs of encodings by two processes into one folder; one of them is killed at the end, in the middle of it."""
    expected = {}
    for seed in (0, 1):
        table = encode(network(store, seed), store, tmp_path / f"alone-{seed}")
        expected[table.model] = contents(table)
    assert not equal(*expected.values())
    path, go = tmp_path / "codes", tmp_path / "go"
    errors = [(tmp_path / f"errors-{i}").open("w+") for i in range(2)]
    words = [str(store.path), str(path)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *words, str(tmp_path / f"ready-{i}"), str(go), turns],
            stderr=errors[i],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for i, turns in enumerate(("10", "100000"))
    ]
    try:
        while not all((tmp_path / f"ready-{i}").exists() for i in range(2)):
            assert all(writer.poll() is None for writer in writers), [file.seek(0) or file.read() for file in errors]
            time.sleep(0.05)
        go.touch()
        seen = []
        while writers[0].poll() is None:
            try:
                table = CodeTable.open(path)
                found = contents(table)
            except CodeTableError as error:  # nothing yet, or replaced between opening and reading
                assert "no code table" in str(error) or "was replaced" in str(error), str(error)
                continue
            assert equal(found, expected[table.model])
            seen.append(table.model)
        time.sleep(random.random() / 10)
        assert writers[0].returncode == 0 and writers[1].poll() is None, [
            file.seek(0) or file.read() for file in errors
        ]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
        for file in errors:
            file.close()
    assert len(seen) > 2
    table = CodeTable.open(path)
    table.verify()
    assert equal(contents(table), expected[table.model])
    encode(network(store, 2), store, path).verify()
    assert len(list(path.glob("*arrays-*"))) == 1  # what the killed one left is gone


def test_what_is_there_already_is_not_encoded_again(store, table, monkeypatch):
    written = {path: path.stat().st_mtime_ns for path in table.path.rglob("*.*")}
    monkeypatch.setattr("srcid.codes.encoding._write_arrays", None)
    again = encode(network(store, 0), store, table.path)
    assert again.manifest == table.manifest
    assert {path: path.stat().st_mtime_ns for path in table.path.rglob("*.*")} == written
    for change in (dict(net=network(store, 1)), dict(batch_size=7)):
        with pytest.raises(TypeError):  # is about to be encoded
            encode(change.pop("net", None) or network(store, 0), store, table.path, **change)
    monkeypatch.setattr("srcid.codes.encoding.code_version", lambda: "0.0+other")
    with pytest.raises(TypeError):
        encode(network(store, 0), store, table.path)
    CodeTable.open(table.path).verify()


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[:-5] + b"\x7f" + file.read_bytes()[-4:]),
        lambda file: file.unlink(),
    ],
    ids=["shorter", "a flipped byte", "gone"],
)
@pytest.mark.parametrize("name", ["codes_1_first.npy", "ids.npy", "label_event.npy"])
def test_a_damaged_file_is_refused_and_made_anew(store, table, damage, name):
    damage(table.arrays / name)
    with pytest.raises(CodeTableError, match=f"is damaged; delete the folder and encode again:\n  - .*{name}"):
        CodeTable.open(table.path)
    encode(network(store, 0), store, table.path).verify()


def test_a_byte_between_the_samples_is_found_by_reading_all_or_by_its_range(store, tmp_path):
    """In a file of 1 MB the sample covers a quarter."""
    large = tiny_store(tmp_path / "large", clips=12_000, grid=False)
    table = encode(network(store, 0), large, tmp_path / "codes")
    file = table.arrays / "codes_1_first.npy"
    blocks = [(file.stat().st_size - 4096) * i // 63 for i in range(2)]
    place = (blocks[0] + 4096 + blocks[1]) // 2 // 4 * 4 + 2  # the third byte of a code
    content = bytearray(file.read_bytes())
    content[place] ^= 0x7F
    file.write_bytes(content)
    opened = CodeTable.open(table.path)
    with pytest.raises(CodeTableError, match=r"the checksum of codes_1_first\.npy differs"):
        opened.verify()
    with pytest.raises(CodeTableError, match=r"need -1 \(padding\) to 11"):
        opened.codes(1, "first")


@pytest.mark.parametrize(
    "change",
    [
        {"arrays": "../elsewhere"}, {"splits": ["../../secret"]}, {"clips": -1}, {"steps": 10**29}, {"layers": "2"},
        {"modalities": []}, {"media": ["a/b"]}, {"files": {"../x": {}}}, {"sizes": [None]}, {"labels": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_that_cannot_be_true_is_refused_before_any_file_is_read(table, change):
    (table.path / "manifest.json").write_text(json.dumps(table.manifest | change))
    with pytest.raises(CodeTableError, match=f"manifest.json is damaged.*\n  - {next(iter(change))}"):
        CodeTable.open(table.path)


def test_a_full_disk_leaves_the_table_that_was_there(store, table, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskError, match=r"no space left in .*: [\d,.]+ MB are free, [\d,.]+ MB are needed"):
        encode(network(store, 1), store, table.path)
    opened = CodeTable.open(table.path)
    opened.verify()
    assert opened.manifest == table.manifest and len(list(table.path.glob("*arrays-*"))) == 1


ALTERED = {
    "short": lambda a: a[:1],
    "scalar": lambda a: np.array(3),
    "text": lambda a: np.full(a.shape, "x"),
    "beyond": lambda a: np.full(a.shape, 2**40) if a.dtype.kind == "i" else np.zeros((*a.shape, 1), complex),
}


@pytest.mark.parametrize("how", ALTERED)
def test_a_stranger_who_makes_the_checksums_fit_is_found_by_type_shape_and_range(store, tmp_path, how):
    table = tiny_table(store, tmp_path / "codes", keep_features=3)
    for name in sorted(table.manifest["files"]):
        path = tmp_path / "altered"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(table.path, path)
        manifest = dict(table.manifest)
        file = path / manifest["arrays"] / name
        kind = name.split("_")[0].removesuffix(".npy")
        whole = np.load(file)
        if how == "short" and kind in ("kept", "split", "codebook"):  # any number of rows may be kept or in a split
            continue
        if (how, kind) in (("text", "ids"), ("beyond", "second")):
            continue
        np.save(file, ALTERED[how](whole))
        (path / "manifest.json").write_text(json.dumps(manifest | {"files": fingerprints(file.parent)}))
        with pytest.raises(CodeTableError, match=r"is damaged: (it has|found) .*, need "):
            found = CodeTable.open(path)
            found.verify()
            for m in found.modalities:
                for layer in range(1, found.layers + 1):
                    for read in (found.codes, found.distance, found.second, found.nearest, found.general,
                                 found.specific):  # fmt: skip
                        read(layer, m)
                    found.codebook(layer)
            _ = (found.ids, found.splits, found.labels, found.labelled, found.masks, found.media)
