"""What only a GPU can show. Skipped where there is none, under CI too: these tests need the hardware."""

import pytest
import torch

from srcid.model.quantize import make_quantizer
from srcid.params import QuantizerParams
from srcid.training.loop import train
from srcid.training.recorded import Recorded
from srcid.training.trainer import Trainer
from tests.helpers import tiny_params, tiny_store

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: torch.cuda.is_available() is false")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("store") / "tiny")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["vq", "rvq", "codaar"])
def test_a_codebook_in_training_waits_for_no_gpu(kind, masked):
    params = QuantizerParams(quantizer=kind, codebook_size=12, revival_after=100)
    features = {m: torch.randn(5, 4, 6, device="cuda") for m in ("first", "second")}
    masks = {m: torch.ones(5, 4, dtype=torch.bool, device="cuda") for m in features} if masked else None
    quantizer = make_quantizer(params, 6, tuple(features)).cuda()
    for _ in range(2):
        quantizer(features, masks)
    torch.cuda.set_sync_debug_mode("error")
    try:
        quantizer(features, masks, with_logits=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_gpu_trains_as_a_cpu_does(store):
    """Without random numbers of clips, which a GPU draws differently."""
    losses = []
    for device in ("cpu", "cuda"):
        trainer = Trainer(store, tiny_params(device=device, precision="float64", dropout=0.0, epochs=2))
        losses.append([float(trainer.advance(*batch)["loss/total"]) for batch in trainer.batches()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_what_is_recorded_goes_on_as_it_would_step_by_step():
    """Called, recorded, replayed: an optimiser's steps on new data each time; other shapes are another recording."""

    def trained(record):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2).cuda().double()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True, capturable=True)

        def step(given):
            loss = sum((model(x) - y).square().mean() for x, y, _ in given.values())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return {"loss": loss.detach()}

        step, draw = Recorded(step) if record else step, torch.Generator().manual_seed(1)
        found = []
        for clips in (4, 4, 4, 6, 4, 6, 6):
            x, y = (torch.randn(clips, size, generator=draw, dtype=torch.float64).cuda() for size in (3, 2))
            found.append(step({"pair": (x, y, None)})["loss"])
        return torch.stack(found)

    torch.testing.assert_close(trained(True), trained(False), rtol=1e-12, atol=0)


def test_a_run_goes_on_on_a_gpu_where_it_was_cut_off(store, tmp_path):
    def losses(trainer, number):
        batches = trainer.batches()
        return [float(trainer.advance(*next(batches))["loss/total"]) for _ in range(number)]

    params = tiny_params(device="cuda", precision="float64", epochs=4)
    expected = losses(Trainer(store, params), 8)
    begun = Trainer(store, params)
    losses(begun, 4)
    begun.save(tmp_path)
    resumed = Trainer(store, params)
    losses(resumed, 3)  # has recordings, of memory that it gives up
    resumed.restore(tmp_path)
    assert losses(resumed, 4) == pytest.approx(expected[4:], rel=1e-9)


def test_the_work_of_a_step_waits_for_no_gpu(store):
    """The trainer itself waits once, to know that the losses are finite."""
    trainer = Trainer(store, tiny_params(device="cuda", warm_start="off", revival_after=100))
    batches = trainer.batches()
    for _ in range(3):
        trainer.advance(*next(batches))
    features, masks = next(batches)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        outputs = trainer.network(features, masks)
        trainer.fit_club(outputs)
        total, _ = trainer.network.losses(outputs)
        total.backward()
        trainer.clip()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precisions_train_on_a_gpu(store, tmp_path, precision):
    assert train(store, tiny_params(device="cuda", precision=precision, epochs=1), tmp_path).status == "finished"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs here")
def test_two_gpus_train_together(store, tmp_path):
    params = tiny_params(device="cuda", processes=2, dropout=0.0, precision="float64")
    assert train(store, params, tmp_path / "two").status == "finished"
    assert train(store, params.model_copy(update={"processes": 1}), tmp_path / "two").status == "finished"
