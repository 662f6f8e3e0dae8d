"""What only a GPU can show. Skipped where there is none, under CI too: these tests need the hardware."""

import pytest
import torch

from srcid.model.quantize import make_quantizer
from srcid.params import QuantizerParams
from srcid.training.loop import train
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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precisions_train_on_a_gpu(store, tmp_path, precision):
    assert train(store, tiny_params(device="cuda", precision=precision, epochs=1), tmp_path).status == "finished"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs here")
def test_two_gpus_train_together(store, tmp_path):
    params = tiny_params(device="cuda", processes=2, dropout=0.0, precision="float64")
    assert train(store, params, tmp_path / "two").status == "finished"
    assert train(store, params.model_copy(update={"processes": 1}), tmp_path / "two").status == "finished"
