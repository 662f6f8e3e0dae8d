"""Training: resuming, stopping, the warm start, and refusals."""

import copy
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from srcid.files import sealed, unsealed
from srcid.model.output import describe
from srcid.optimiser import Adam
from srcid.params import PRESETS
from srcid.training import checkpoint
from srcid.training.loop import Trainer, TrainingError, cost, load, pick_device, train
from srcid.training.warmstart import WarmStart
from tests.helpers import demo_model, tiny_params, tiny_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("store") / "tiny")


def lines(folder):
    return [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]


def timeless(folder):
    return [{k: v for k, v in line.items() if k not in ("seconds", "clips_per_second")} for line in lines(folder)]


def weights(folder):
    return checkpoint.load(folder / "checkpoint")[1]


def assert_same_run(one, two):
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys() and len(a) > 50
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different
    assert timeless(one) == timeless(two)


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    result = train(store, tiny_params(), folder)
    assert result.status == "finished" and result.step == result.steps == 12
    return folder


def test_losses_fall(store, tmp_path):
    train(store, tiny_params(epochs=8, lr=1e-2), tmp_path)
    recon = [line["recon/1/first"] for line in lines(tmp_path) if "recon/1/first" in line]
    assert np.mean(recon[-3:]) < 0.8 * np.mean(recon[:3])


def test_cost_counts_parameters_and_takes_the_median_step(undisturbed):
    network = load(undisturbed)
    found = cost(network, [{"clips_per_second": rate} for rate in (10.0, 40.0, 1000.0)] + [{"val/recon/1/x": 1.0}])
    assert found["parameters"] == sum(p.numel() for p in network.parameters()) > 0
    assert found["ms_per_step"] == pytest.approx(1000 * network.params.batch_size / 40)
    assert 50 < found["memory_mb"] < 1e5


def test_same_seed_same_run(store, undisturbed, tmp_path):
    train(store, tiny_params(), tmp_path)
    assert_same_run(undisturbed, tmp_path)


def test_other_seed_other_run(store, undisturbed, tmp_path):
    train(store, tiny_params(seed=1), tmp_path)
    assert timeless(undisturbed) != timeless(tmp_path)


def test_training_leaves_the_callers_randomness_alone(store, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(store, tiny_params(epochs=1), tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("after", [1, 5, 6, 9])
def test_stopped_and_resumed_equals_undisturbed(store, undisturbed, tmp_path, after):
    stop = threading.Event()

    class Stopping:
        calls = 0

        def __call__(self, metrics):
            if metrics["step"] >= after:
                stop.set()

    result = train(store, tiny_params(log_every=2), tmp_path, on_metrics=Stopping(), stop=stop)
    assert result.status == "stopped" and result.step < result.steps
    seen = []
    assert train(store, tiny_params(), tmp_path, on_metrics=seen.append).status == "finished"
    assert_same_run(undisturbed, tmp_path)
    assert [line["step"] for line in seen] == [line["step"] for line in lines(tmp_path)]


@pytest.mark.parametrize(
    "options",
    [
        dict(quantizer="rvq", ema_partner="attention", codebook_init="kmeans"),
        dict(lstm_modalities=("third",), lstm_dim=8, revival="row", revival_after=2, club_estimator="sampled"),
        dict(precision="bfloat16", quantizer="fsq", schedule="cosine", warmup_steps=3),
        {k: v for k, v in PRESETS["published"].items() if k not in ("lstm_modalities", "club_off")},
        demo_model(),
        dict(codebook_metric="cosine", assignment="transport", revival_after=2),
        dict(quantizer="rvq", assignment="joint"),
    ],
    ids=["rvq", "lstm", "fsq", "published", "demo", "transport", "joint"],
)
def test_resuming_is_exact_under_other_options_too(store, tmp_path, options):
    params = tiny_params(**{**options, "epochs": 2})
    train(store, params, tmp_path / "whole")
    stop = threading.Event()
    train(store, params, tmp_path / "cut", on_metrics=lambda line: stop.set(), stop=stop)
    assert 0 < checkpoint.load(tmp_path / "cut/checkpoint")[0] < 6
    train(store, params, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_killed_at_random_moments_and_resumed_equals_undisturbed(store, undisturbed, tmp_path):
    script = tmp_path / "go.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(ROOT)!r})
        from srcid.features import FeatureStore
        from srcid.training.loop import train
        from tests.helpers import tiny_params
        print("ready", flush=True)
        train(FeatureStore.open({str(store.path)!r}), tiny_params(), {str(tmp_path / "run")!r},
              on_metrics=lambda line: (print(line["step"], flush=True), time.sleep(0.02)))
        assert "torch._dynamo" not in sys.modules, "torch's compiler was imported, which takes seconds"
        """)
    )
    draw = np.random.default_rng(7)
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    killed = 0
    for steps in (2, 4, 8):
        with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as process:
            for text in process.stdout:
                if text.strip().isdigit() and int(text) >= steps:
                    time.sleep(draw.uniform(0, 0.05))
                    process.send_signal(signal.SIGKILL)
                    break
            process.wait()
            killed += process.returncode == -signal.SIGKILL
    assert killed >= 2
    finished = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert finished.returncode == 0, finished.stderr
    assert_same_run(undisturbed, tmp_path / "run")


def test_interrupt_leaves_a_resumable_run(store, tmp_path):
    result = train(store, tiny_params(), tmp_path, on_metrics=lambda line: signal.raise_signal(signal.SIGINT))
    assert result.status == "stopped"
    assert checkpoint.exists(tmp_path / "checkpoint")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_adam_is_that_of_torch_to_the_bit():
    torch.manual_seed(0)
    one = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3))
    two = copy.deepcopy(one)
    adams = [make(net.parameters(), lr=0.01, fused=True) for make, net in ((Adam, one), (torch.optim.Adam, two))]
    for step in range(6):
        x = torch.randn(7, 5)
        for net, adam in zip((one, two), adams, strict=True):
            adam.zero_grad(set_to_none=True)
            (net(x) ** 2).mean().backward()
            adam.step()
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
        if step == 2:
            adams[0].load_state_dict(copy.deepcopy(adams[1].state_dict()))
    torch.testing.assert_close(adams[0].state_dict(), adams[1].state_dict(), rtol=0, atol=0)


def test_a_finished_run_is_not_trained_again(store, undisturbed):
    before = weights(undisturbed)
    result = train(store, tiny_params(), undisturbed)
    assert result.status == "finished" and result.step == 12
    assert all(torch.equal(v, before[k]) for k, v in weights(undisturbed).items())


def test_other_parameters_or_data_do_not_resume(store, undisturbed, tmp_path):
    with pytest.raises(TrainingError, match=r"other parameters \(lr\)"):
        train(store, tiny_params(lr=5e-4), undisturbed)
    other = tiny_store(tmp_path / "other", seed=9)
    with pytest.raises(TrainingError, match="other data"):
        train(other, tiny_params(), undisturbed)


def test_two_processes_cannot_train_in_one_folder(store, tmp_path):
    def again(line):
        with pytest.raises(TrainingError, match="another process"):
            train(store, tiny_params(), tmp_path)

    assert train(store, tiny_params(epochs=1), tmp_path, on_metrics=again).status == "finished"


def test_damaged_checkpoint_is_named(store, tmp_path):
    train(store, tiny_params(epochs=1), tmp_path)
    [file] = (tmp_path / "checkpoint").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(checkpoint.CheckpointError, match="checksum differs"):
        train(store, tiny_params(epochs=1), tmp_path)


def _altered(folder, change):
    """Change a checkpoint's tensors or state, and make its checksums fit as a stranger can."""
    pointer = unsealed(json.loads((folder / "latest.json").read_text()))
    file = folder / pointer["tensors"]
    tensors = load_file(file)
    change(tensors, pointer["state"])
    save_file(tensors, file, metadata={"step": str(pointer["step"])})
    pointer["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "latest.json").write_text(json.dumps(sealed(pointer)))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, state: tensors.pop(next(name for name in tensors if name.startswith("network."))),
        lambda tensors, state: tensors.update({n: torch.zeros(3) for n in tensors if n.startswith("network.")}),
        lambda tensors, state: tensors.update({n: x * torch.nan for n, x in tensors.items() if x.is_floating_point()}),
        lambda tensors, state: state.clear(),
        lambda tensors, state: state.update(params=None),
        lambda tensors, state: state.update(shapes="x"),
    ],
)
def test_a_checkpoint_of_a_stranger_that_fits_no_model_is_refused(store, undisturbed, tmp_path, change):
    shutil.copytree(undisturbed, tmp_path / "run")
    _altered(tmp_path / "run" / "checkpoint", change)
    with pytest.raises(checkpoint.CheckpointError, match="is damaged: what it holds does not fit its model"):
        load(tmp_path / "run")


def test_a_pointer_moved_to_another_step_is_refused(store, tmp_path):
    train(store, tiny_params(epochs=1), tmp_path)
    folder = tmp_path / "checkpoint"
    pointer = unsealed(json.loads((folder / "latest.json").read_text()))
    later = pointer | {"step": 9999, "tensors": "step-000009999.safetensors"}
    (folder / "latest.json").write_text(json.dumps(later))
    with pytest.raises(checkpoint.CheckpointError, match=r"names step-000009999\.safetensors, which is not there"):
        train(store, tiny_params(epochs=1), tmp_path)
    (folder / pointer["tensors"]).rename(folder / later["tensors"])
    (folder / "latest.json").write_text(json.dumps(sealed(later)))
    with pytest.raises(checkpoint.CheckpointError, match=f"is of step {pointer['step']}, not 9999"):
        train(store, tiny_params(epochs=1), tmp_path)


def test_a_stranger_cannot_say_how_training_goes_on(store, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    _altered(tmp_path / "run" / "checkpoint", lambda tensors, state: state.update(warm=3))
    with pytest.raises(checkpoint.CheckpointError, match="what it holds does not fit its model"):
        train(store, tiny_params(), tmp_path / "run")


def test_non_finite_loss_names_the_culprit_and_keeps_the_checkpoint(store, tmp_path, monkeypatch):
    original = Trainer.tensors

    def poisoned(self, rows, share=None):
        features, masks = original(self, rows, share)
        if len(calls) == 7 and set(rows) <= set(self.rows):  # validation reads clips too
            features["third"][0, 0, 0] = float("nan")
        calls.extend([rows] if set(rows) <= set(self.rows) else [])
        return features, masks

    calls = []
    monkeypatch.setattr(Trainer, "tensors", poisoned)
    with pytest.raises(TrainingError, match=r"recon/1/third.*features of \['third'\]"):
        train(store, tiny_params(checkpoint_every=2), tmp_path)
    step, tensors, _ = checkpoint.load(tmp_path / "checkpoint")
    assert 0 < step <= 7
    assert all(torch.isfinite(v).all() for v in tensors.values() if v.is_floating_point())


@pytest.mark.parametrize("every", [1, 3, 100])
def test_a_run_that_diverges_saves_nothing_bad_and_says_so_each_time(store, tmp_path, every):
    """Weights of 1e38 are finite, and what they make of features is not."""
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"not finite.*(try a )?lower"):
            train(store, tiny_params(lr=1e38, checkpoint_every=every, epochs=1), tmp_path)
        assert not checkpoint.exists(tmp_path / "checkpoint")


def test_divergence_in_the_last_step_is_no_finished_run_and_keeps_the_last_good_checkpoint(
    store, tmp_path, monkeypatch
):
    advance = Trainer.advance

    def breaks_at_the_end(self, features, masks):
        found = advance(self, features, masks)
        if self.done:
            with torch.no_grad():
                next(self.network.parameters()).view(-1)[0] = float("inf")
        return found

    monkeypatch.setattr(Trainer, "advance", breaks_at_the_end)
    with pytest.raises(TrainingError, match=r"training has diverged, .* tensors are not finite"):
        train(store, tiny_params(checkpoint_every=2, epochs=1), tmp_path)
    step, tensors, _ = checkpoint.load(tmp_path / "checkpoint")
    assert step == (Trainer(store, tiny_params(epochs=1)).steps - 1) // 2 * 2
    assert all(torch.isfinite(v).all() for v in tensors.values() if v.is_floating_point())


def test_a_finished_run_is_read_by_several_processes_at_once(store, tmp_path):
    params = tiny_params(epochs=1)
    first = train(store, params, tmp_path)
    before, lines = (tmp_path / "metrics.jsonl").stat().st_mtime_ns, []
    with FileLock(tmp_path / "training.lock"):
        assert train(store, params, tmp_path, lines.append) == first
    assert (tmp_path / "metrics.jsonl").stat().st_mtime_ns == before
    assert lines == [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(lstm_modalities=("frist",)), "lstm_modalities names frist; the store has first, second, third"),
        (
            dict(dim=4096, encoder_depth=12, codebook_size=1_000_000, batch_size=1000),
            r"take about [\d,.]+ GB, and 1.0 GB",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_before_training(store, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("srcid.training.requirements._free_memory", lambda device: 10**9)
    with pytest.raises(TrainingError, match=message):
        train(store, tiny_params(**changes), tmp_path)


@pytest.mark.parametrize("clip", ["global", "module", "off"])
def test_gradient_clipping(store, clip):
    trainer = Trainer(store, tiny_params(clip=clip, clip_norm=1e-3))
    features, masks = trainer.tensors(trainer.rows[:8])
    total, _ = trainer.network.losses(trainer.network(features, masks))
    total.backward()
    trainer.clip()
    norm = torch.stack([p.grad.norm() for p in trainer.network.main_parameters() if p.grad is not None]).norm()
    modules = len(trainer.network.modules_to_clip())
    bound = {"global": 1.01e-3, "module": 1.01e-3 * modules**0.5, "off": float("inf")}[clip]
    assert norm <= bound
    assert clip == "global" or norm > 1.1e-3


def test_cosine_schedule_and_warm_up(store):
    trainer = Trainer(store, tiny_params(schedule="cosine", warmup_steps=3, lr=1.0))
    rates = []
    for step in range(trainer.steps):
        trainer.step = step
        rates.append(trainer.learning_rate())
    assert rates[0] == 0.25 and max(rates) == rates[3]
    assert rates[-1] < 0.03 and rates[3:] == sorted(rates[3:], reverse=True)


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_precisions_train_and_load(store, tmp_path, precision):
    assert train(store, tiny_params(precision=precision, epochs=1), tmp_path).status == "finished"
    dtype = next(load(tmp_path).parameters()).dtype
    assert dtype == (torch.float64 if precision == "float64" else torch.float32)


def test_fewer_clips_than_a_batch_still_train(store, tmp_path):
    assert train(store, tiny_params(batch_size=500, epochs=2), tmp_path).step == 2


def test_every_clip_is_seen_each_epoch_when_batches_divide(store):
    trainer = Trainer(store, tiny_params(batch_size=8, epochs=1))
    seen = []
    trainer.tensors = lambda rows, share: seen.extend(rows) or ({}, None)
    list(trainer.batches())
    assert sorted(seen) == sorted(store.splits["train"])


def test_loaded_network_is_the_trained_one(store, undisturbed):
    network = load(undisturbed)
    assert not network.training
    saved = weights(undisturbed)
    assert torch.equal(
        network.state_dict()["layers.1.quantizer.codebook"], saved["network.layers.1.quantizer.codebook"]
    )


def test_metrics_have_every_quantity(undisturbed):
    names = set().union(*lines(undisturbed))
    for quantity in ("recon", "commit", "mi", "likelihood", "scale", "perplexity", "used"):
        assert {f"{quantity}/1/{m}" for m in ("first", "second", "third")} <= names, quantity
    assert {"loss/total", "cmcm/1", "cpc/1", "lr", "grad_norm", "clips_per_second", "layers_open"} <= names
    assert {"agreement/1/first-second", "val/agreement/1/first-third", "val/recon/1/second"} <= names
    for quantity in ("skill/1", "val/skill/1", "mi_smoothed/1", "mi_change/1"):
        assert {f"{quantity}/{m}" for m in ("first", "second", "third")} <= names, quantity
    assert lines(undisturbed)[-2]["opened_by/2"] == "longest wait"


def test_a_modality_that_a_batch_lacks_is_left_out_of_its_description(store):
    trainer = Trainer(store, tiny_params())
    features, _ = trainer.tensors(trainer.rows[:4])
    masks = {m: torch.full((4, store.steps), m != "third") for m in features}
    with torch.no_grad():
        found = describe(trainer.network(features, masks))
    assert all(math.isfinite(value) for value in found.values())
    assert {"scale/1/first", "perplexity/1/first", "agreement/1/first-second"} <= found.keys()
    assert not any("third" in name for name in found)


# --- warm start ---


def opening(params, steps, *estimates):
    """When and why layers open, given one course of estimates per modality."""
    warm = WarmStart(params, steps, per_epoch=5)
    for step, values in enumerate(zip(*estimates, strict=True)):
        warm.update(step, {f"m{i}": value for i, value in enumerate(values) if value is not None})
    return warm.opened, warm.reasons


def test_a_layer_opens_once_information_has_stopped_falling_in_every_modality():
    """Modalities of different scale that settle far above a fifth of their peaks: only their slopes tell."""
    params = tiny_params(warm_min=0.0, warm_max=1.0)
    falling = [100 - 0.5 * min(step, 100) for step in range(400)]  # settles at 50 from step 100 on
    flat = [3.0] * 400
    (_, when), why = opening(params, 400, falling, flat)
    assert 100 < when < 250 and why == ["start", "settled"]
    assert opening(params, 400, flat, flat)[0][1] < 100
    assert opening(params, 400, [100 - 0.2 * step for step in range(400)], flat)[1] == ["start", None]
    rising = [0.25 * step for step in range(400)]
    assert opening(params, 400, rising, flat)[1] == ["start", None]


def test_absolute_warm_start_asks_every_modality():
    params = tiny_params(warm_start="absolute", warm_threshold=0.5, warm_patience=1, warm_min=0, warm_smoothing=0.0)
    assert opening(params, 100, [3, 0.6, 0.4]) == ([0, 2], ["start", "absolute"])
    assert opening(params, 100, [3, 0.6, 0.4], [9, 9, 9]) == ([0, None], ["start", None])


def test_a_fixed_number_of_epochs_looks_at_no_estimate():
    params = tiny_params(layers=3, warm_start="epochs", warm_epochs=3)
    assert opening(params, 100, [5.0] * 100) == ([0, 15, 30], ["start", "epochs", "epochs"])


def test_minimum_and_maximum_wait_count_from_the_last_opening():
    params = tiny_params(layers=3, warm_min=0.1, warm_max=0.3, warm_patience=1, warm_smoothing=0.2)
    assert opening(params, 100, [0.0] * 100)[0] == [0, 10, 20]
    for course in ([2.0**step for step in range(100)], [None] * 100):
        assert opening(params, 100, course) == ([0, 30, 60], ["start", "longest wait", "longest wait"])


def test_warm_start_off_opens_everything_at_once():
    assert WarmStart(tiny_params(warm_start="off", layers=3), 10).opened == [0, 0, 0]


def test_closed_layer_does_not_move(store, tmp_path):
    params = tiny_params(warm_max=1.0, warm_threshold=0.0, epochs=2)
    torch.manual_seed(params.seed)
    before = Trainer(store, params).network.layers[1].state_dict()
    result = train(store, params, tmp_path)
    assert result.opened == (0, None) and result.opened_by == ("start", None)
    after = load(tmp_path).layers[1].state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


# --- refusals ---


def test_problems_are_named_together_before_anything_is_written(tmp_path):
    short = tiny_store(tmp_path / "short", steps=4)
    with pytest.raises(TrainingError) as error:
        train(short, tiny_params(cpc_horizon=9, lstm_modalities=("second",)), tmp_path / "run")
    assert "needs 10" in str(error.value) and "['second']" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_unknown_or_absent_device():
    with pytest.raises(TrainingError, match="unknown"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="torch sees none"):
            pick_device("cuda")
