"""Snapshots of epochs: training is the same without them, and a run cut off has the same ones."""

import threading

import numpy as np
import pytest
import torch

from srcid.codebook.matching import match_codes
from srcid.codes import CodeTableError, encode
from srcid.epochs import compared, epoch_table
from srcid.params import PRESETS
from srcid.runs import Run
from srcid.training import loop, snapshots
from srcid.training.loop import load, train
from srcid.training.snapshots import kept_epochs, read_epoch
from srcid.training.trainer import Trainer
from tests.helpers import tiny_params, tiny_store

CASES = {
    "vq": {}, "rvq": dict(quantizer="rvq"), "fsq": dict(quantizer="fsq"), "identity": dict(quantizer="identity"),
    "turn": PRESETS["turn"], "codis": PRESETS["codis"] | dict(codis_queue=20), "codaar": PRESETS["codaar"],
    "two": dict(processes=2),
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("store") / "tiny", clips=60)


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    train(store, tiny_params(warm_start="epochs", warm_epochs=2), folder)
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "epochs").iterdir()}


@pytest.mark.parametrize("case", CASES)
def test_the_last_epoch_has_the_codes_of_the_code_table(store, tmp_path, case):
    train(store, tiny_params(**{**CASES[case], "epochs": 2}), tmp_path)
    table = encode(load(tmp_path), store, tmp_path / "codes")
    last, rows = epoch_table(table, tmp_path, 2), store.splits["test"]
    assert kept_epochs(tmp_path) == [1, 2] and last.layers == table.layers and last.stages == table.stages
    others = np.setdiff1d(np.arange(store.clips), rows)
    for k in range(1, table.layers + 1):
        for m in table.modalities:
            np.testing.assert_array_equal(last.codes(k, m)[rows], table.codes(k, m)[rows])
            np.testing.assert_allclose(last.distance(k, m)[rows], table.distance(k, m)[rows], rtol=1e-3, atol=1e-4)
            assert (last.codes(k, m)[others] == -1).all() and not last.masks[m][others].any()
        if table.codebook(k) is None:
            assert last.codebook(k) is None
        else:
            np.testing.assert_array_equal(last.codebook(k), table.codebook(k))


def test_training_is_the_same_without_snapshots(store, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "keep_epoch", lambda folder, trainer: None)
    train(store, tiny_params(warm_start="epochs", warm_epochs=2), tmp_path)
    assert not kept_epochs(tmp_path) and kept_epochs(finished) == [1, 2, 3, 4]
    one, two = (loop.checkpoint.load(folder / "checkpoint")[1] for folder in (tmp_path, finished))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_reading_codes_draws_nothing_and_changes_nothing(store, tmp_path):
    trainer = Trainer(store, tiny_params(specific_rate=0.1, lstm_modalities=("third",), lstm_dim=8))
    for batch in trainer.batches():
        trainer.advance(*batch)
        if trainer.step == trainer.per_epoch:
            break
    before = {name: value.clone() for name, value in trainer.state().items()}
    snapshots.keep_epoch(tmp_path, trainer)
    assert kept_epochs(tmp_path) == [1] and trainer.network.training
    assert all(torch.equal(value, before[name]) for name, value in trainer.state().items())


@pytest.mark.parametrize("after", [1, 5, 9])
def test_a_run_that_was_cut_off_has_the_same_snapshots(store, finished, tmp_path, after):
    stop, params = threading.Event(), tiny_params(warm_start="epochs", warm_epochs=2)
    train(store, params, tmp_path, lambda line: stop.set() if line["step"] >= after else None, stop)
    assert len(kept_epochs(tmp_path)) < 4
    train(store, params, tmp_path)
    assert content(tmp_path) == content(finished)


def test_a_snapshot_holds_the_open_layers_of_a_bounded_number_of_clips(store, finished, monkeypatch, tmp_path):
    first, last = read_epoch(finished, 1), read_epoch(finished, 4)
    assert "codes_1_first" in first and "codes_2_first" not in first and "codes_2_first" in last
    monkeypatch.setattr(snapshots, "CLIPS", 5)
    monkeypatch.setattr(snapshots, "EPOCHS", 3)
    monkeypatch.setattr(snapshots, "_BOOK", 10)
    train(store, tiny_params(epochs=7), tmp_path)
    assert kept_epochs(tmp_path) == [3, 6, 7]
    held = read_epoch(tmp_path, 7)
    np.testing.assert_array_equal(held["rows"], store.splits["test"][:5])
    assert held["codes_1_first"].shape[:2] == (5, store.steps) and "codebook_1" not in held


def test_an_epoch_is_matched_with_the_finished_run_like_another_run(store, finished, tmp_path, monkeypatch):
    """Codes renamed since the epoch are found; clips without codes in the snapshot do not count."""
    encode(load(finished), store, finished / "codes")
    run = Run(finished)
    path = finished / "epochs" / "epoch-00004.npz"
    held, names = read_epoch(finished, 4), np.random.default_rng(0).permutation(12)
    monkeypatch.setattr("srcid.training.snapshots.read_epoch", lambda *_: {
        name: names[x] if name.startswith("codes_") else x for name, x in held.items()
    })  # fmt: skip
    tables = compared(run, "epoch 4")
    assert list(tables) == [run.name, "epoch 4"]
    found = match_codes(tables, clips="test")
    assert found.share.value > 0.95 and all(m.second == names[m.first] for m in found.matches)
    everything = match_codes(tables, bootstrap=0)
    assert everything.sample == f"{len(store.splits['test'])} of {store.clips} clips"
    assert everything.counts.sum() == found.counts.sum()
    monkeypatch.undo()
    early = compared(run, "epoch 1")["epoch 1"]
    assert early.layers == 1
    both = compared(run, "epoch 1, epoch 4")
    assert list(both) == ["epoch 1", "epoch 4"] and list(compared(run, "epoch 4, epoch 4")) == [run.name, "epoch 4"]
    assert match_codes(both).names == ("epoch 1", "epoch 4") and match_codes(both).counts.sum() == found.counts.sum()
    with pytest.raises(CodeTableError, match=r"no codes of epoch 9; there are those of 1, 2, 3, 4"):
        compared(run, "epoch 9")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(CodeTableError, match=r"codes of epoch 4 .* damaged"):
        compared(run, "epoch 4")
    path.write_bytes(whole)
