"""Several processes train together: the result of one, stopping, going on, dying, several nodes."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from srcid.features import FeatureStore
from srcid.params import PRESETS, ParameterError
from srcid.training import checkpoint, distributed
from srcid.training.loop import TrainingError, train
from srcid.training.ranks import Ranks
from srcid.training.trainer import Trainer
from tests.campaign.conftest import FULL
from tests.helpers import demo_model, tiny_params, tiny_store

ROOT = Path(__file__).resolve().parents[2]
STEPS = 10
CASES = {
    "vq": dict(club_estimator="sampled"),
    "rvq": dict(quantizer="rvq", revival_after=2, lstm_modalities=("third",), lstm_dim=8),
    "fsq": dict(quantizer="fsq", **demo_model()),
    "transport": dict(codebook_metric="cosine", assignment="transport"),
    "turn": PRESETS["turn"],
    "codis": PRESETS["codis"] | dict(codis_queue=20),
    "codaar": PRESETS["codaar"] | dict(revival_after=2),
}
PADDED = ("vq", "turn", "codaar")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The tiny store, and the same clips of unequal lengths in each modality."""
    folder = tmp_path_factory.mktemp("stores")
    store = tiny_store(folder / "plain")
    draw, steps = np.random.default_rng(1), np.arange(store.steps)
    masks = {m: steps < draw.integers(1, store.steps + 1, (store.clips, 1)) for m in store.modalities}
    tiny_store(folder / "padded", masks=masks)
    return folder


@pytest.fixture(scope="module")
def store(stores):
    return FeatureStore.open(stores / "plain")


def parameters(case, **changes):
    """Batches of 9 clips, so that two processes have unequal parts."""
    return tiny_params(**{**CASES[case], "precision": "float64", "batch_size": 9, "epochs": STEPS // 2, **changes})


def outcome(stores, case, ranks=None):
    """Losses of all steps, validation, codes of the test clips and every tensor of the training."""
    store = FeatureStore.open(stores / ("padded" if case in PADDED else "plain"))
    trainer = Trainer(store, parameters(case), ranks)
    found = [trainer.advance(*batch) for batch in trainer.batches()] + [trainer.validate()]
    losses = [{k: float(torch.as_tensor(v).detach()) for k, v in x.items() if not isinstance(v, str)} for x in found]
    trainer.agree()
    trainer.network.eval()
    with torch.no_grad():
        outputs = trainer.network(*trainer.tensors(store.splits["test"]))
    codes = {f"{k}/{m}": c for k, output in enumerate(outputs) for m, c in output.quantized.codes.items()}
    return dict(losses=losses, codes=codes, state={k: v.clone() for k, v in trainer.state().items()})


def worker(rank, stores, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(minutes=3)
    )
    found = {case: outcome(stores, case, Ranks.joined()) for case in CASES}
    trainer = Trainer(FeatureStore.open(stores / "plain"), parameters("vq"), Ranks.joined())
    if rank == 1:
        trainer.network.layers[0].quantizer.codebook[3, 2] += 1e-12
    with pytest.raises(TrainingError) as error:
        trainer.agree()
    torch.save(found | {"disagreement": str(error.value)}, folder / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(stores, tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(worker, args=(stores, folder), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_do_what_one_does(stores, two, case):
    one, first, second = outcome(stores, case), two[0][case], two[1][case]
    assert len(one["losses"]) == STEPS + 1 and len(one["codes"]) >= 3
    for line, other in zip(one["losses"], first["losses"], strict=True):
        assert line.keys() == other.keys()
        assert {k: other[k] for k in line} == pytest.approx(line, abs=1e-9, rel=1e-9, nan_ok=True)
    assert all(torch.equal(first["codes"][name], codes) for name, codes in one["codes"].items())
    assert one["state"].keys() == first["state"].keys()
    for name, tensor in one["state"].items():
        torch.testing.assert_close(first["state"][name], tensor, atol=1e-9, rtol=1e-9, msg=name)
        assert torch.equal(first["state"][name], second["state"][name]), name


def test_processes_that_disagree_name_the_tensor(two):
    for found in two:
        assert "step 0: the 2 processes do not agree on network.layers.0.quantizer.codebook;" in found["disagreement"]


# --- started, stopped, killed ---


def long(case, **changes):
    """Six times as many steps: time for somebody who looks at the log five times a second to stop it."""
    return parameters(case, epochs=3 * STEPS, **changes)


def workers():
    return [p for p in psutil.Process().children(recursive=True) if "srcid.training" in p.cmdline()]


def lines(folder):
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in ("seconds", "clips_per_second")} for x in text]


def assert_as_one(folder, undisturbed):
    """The same log and weights, but for rounding."""
    a, b = checkpoint.load(folder / "checkpoint")[1], checkpoint.load(undisturbed / "checkpoint")[1]
    assert a.keys() == b.keys()
    for name, tensor in b.items():
        torch.testing.assert_close(a[name], tensor, atol=1e-9, rtol=1e-9, msg=name)
    for line, other in zip(lines(folder), lines(undisturbed), strict=True):
        words = {name: value for name, value in other.items() if isinstance(value, str)}
        numbers = pytest.approx({name: value for name, value in other.items() if name not in words}, abs=1e-6, rel=1e-6)
        assert {name: line[name] for name in words} == words
        assert {name: value for name, value in line.items() if name not in words} == numbers


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert train(store, long("vq"), folder).status == "finished"
    return folder


def test_one_process_starts_no_launcher(undisturbed):
    assert not (undisturbed / distributed.REQUEST).exists() and not torch.distributed.is_initialized()


def test_a_run_goes_on_with_two_processes_and_with_one_again(store, undisturbed, tmp_path):
    reached = []
    for processes, until in ((1, 4), (2, 8), (1, 99)):
        stop, seen = threading.Event(), []

        def watch(line, stop=stop, seen=seen, until=until):
            seen.append(line)
            if line["step"] >= until:
                stop.set()

        result = train(store, long("vq", processes=processes), tmp_path, watch, stop)
        assert [line["step"] for line in seen] == [line["step"] for line in lines(tmp_path)]
        assert not workers()
        reached.append(result)
    assert [result.status for result in reached] == ["stopped", "stopped", "finished"]
    assert 4 <= reached[0].step < reached[1].step < reached[2].step == 6 * STEPS
    assert_as_one(tmp_path, undisturbed)


def test_a_killed_process_ends_the_run_with_a_sentence_and_the_same_call_goes_on(store, undisturbed, tmp_path):
    killed = []

    def kill(line):
        if line["step"] >= 6 and not killed:
            killed.extend(p for p in workers() if p.environ()["RANK"] == "1")
            killed[0].kill()

    params = long("vq", processes=2)
    with pytest.raises(TrainingError, match=r"^process 1 of 2 was killed \(SIGKILL\); step \d+ is saved, and the same"):
        train(store, params, tmp_path, kill)
    assert not workers() and 5 <= checkpoint.load(tmp_path / "checkpoint")[0] < 6 * STEPS
    assert train(store, params, tmp_path).status == "finished"
    assert_as_one(tmp_path, undisturbed)


def test_an_error_in_a_process_is_that_of_the_run(store, tmp_path):
    with pytest.raises(TrainingError, match=r"^step \d+: .*not finite.*lower"):
        train(store, parameters("vq", processes=2, lr=1e38), tmp_path)
    assert not workers() and not checkpoint.exists(tmp_path / "checkpoint")


def test_no_process_outlives_the_one_that_asked(store, tmp_path):
    script = tmp_path / "go.py"
    script.write_text(
        textwrap.dedent(f"""
        from pathlib import Path
        from srcid.features import FeatureStore
        from srcid.training.loop import train
        from tests.training.test_distributed import parameters
        train(FeatureStore.open({str(store.path)!r}), parameters("vq", processes=2, epochs=10_000),
              Path({str(tmp_path / "run")!r}), on_metrics=lambda line: print(line["step"], flush=True))
        """)
    )
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as process:
        next(text for text in process.stdout if int(text) >= 6)
        left = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    assert len([p for p in left if p.is_running()]) >= 2
    _, alive = psutil.wait_procs(left, timeout=120)
    assert not alive
    assert checkpoint.load(tmp_path / "run/checkpoint")[0] > 5  # saved when the parent was found to be gone


@pytest.mark.skipif(not FULL, reason="half a minute: ./lab campaign rehearses two nodes")
def test_two_nodes_by_torchrun_do_what_one_process_does(store, undisturbed, tmp_path):
    stop = threading.Event()
    params = long("vq", processes=2)
    assert train(store, params, tmp_path, lambda line: stop.set(), stop).status == "stopped"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command += [f"--rdzv-endpoint=localhost:{port}", "--local-addr=localhost", "-m", "srcid.training", str(tmp_path)]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    nodes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    said = [node.communicate(timeout=300)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert train(store, params, tmp_path).status == "finished"  # nothing is left to do
    assert_as_one(tmp_path, undisturbed)


# --- refusals ---


def test_each_process_needs_two_clips_of_every_batch(store, tmp_path):
    with pytest.raises(TrainingError, match=r"found processes=5 for batches of 9 clips, .* choose 1 to 4"):
        train(store, parameters("vq", processes=5), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_processes_are_checked_with_the_other_parameters():
    wrong = ((dict(processes=0), "processes=0: .* 1"), (dict(processes=2, device="cuda:1"), "each with device=cuda"))
    for changes, message in wrong:
        with pytest.raises(ParameterError, match=message):
            tiny_params(**changes)


def test_a_folder_in_which_nothing_was_begun_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"has no training.json; begin the training with processes=2"):
        distributed.join(tmp_path)


def test_several_gpus_are_needed_for_several_processes_on_gpus(store, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match="found 1 GPUs for processes=2"):
        distributed.launch(store, parameters("vq", processes=2), tmp_path, print, threading.Event())
    assert not list(tmp_path.iterdir())
