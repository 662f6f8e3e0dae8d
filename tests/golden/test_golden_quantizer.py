"""The published options of the quantiser reproduce the authors' code over three consecutive steps."""

import numpy as np
import pytest
import torch

from srcid.model.alignment import code_matching_loss
from srcid.model.quantize import VectorQuantizer, make_quantizer, perplexity
from srcid.params import resolve

MODALITIES = ("audio", "video", "text")
EXACT = dict(rtol=0, atol=1e-10)


class Replayed(VectorQuantizer):
    """Takes its revival draws from the reference file."""

    draws = ()

    def _draw_copies(self, choices, number):
        (table, noise), self.draws = self.draws[0], self.draws[1:]
        assert table[:, 0].tolist() == [0] * number and table[:, 1].tolist() == [choices - 1] * number
        return table[:, 2], noise.double()


def load(shared, name):
    with np.load(shared / "golden" / f"{name}.npz") as file:
        return {key: torch.as_tensor(file[key]) for key in file.files}


def published(golden, cls=VectorQuantizer):
    size, dim = golden["embedding_0"].shape
    quantizer = make_quantizer(resolve("published", codebook_size=size), dim).double()
    quantizer.__class__ = cls  # only where random draws come from differs
    quantizer.codebook.copy_(golden["embedding_0"])
    quantizer.counts.copy_(golden["ema_count_0"])
    quantizer.sums.copy_(golden["ema_weight_0"])
    quantizer.idle.copy_(golden["unactivated_count_0"].long())
    return quantizer


def assert_state(quantizer, golden, call):
    torch.testing.assert_close(quantizer.codebook, golden[f"embedding_{call}"], **EXACT)
    torch.testing.assert_close(quantizer.counts, golden[f"ema_count_{call}"], **EXACT)
    torch.testing.assert_close(quantizer.sums, golden[f"ema_weight_{call}"], **EXACT)
    assert torch.equal(quantizer.idle, golden[f"unactivated_count_{call}"].long())


@pytest.mark.parametrize("name, calls", [("vq_small_fresh", 3), ("vq_small_warm", 3), ("vq_revival_d256_k16", 2)])
def test_published_options_reproduce_the_reference(shared, name, calls):
    golden = load(shared, name)
    quantizer = published(golden, Replayed)
    quantizer.draws = [
        (golden[f"revival_randint_{i}"], golden[f"revival_noise_{i}"])
        for i in range(1, calls + 1)
        if f"revival_randint_{i}" in golden
    ]
    expected_revivals = len(quantizer.draws)
    for call in range(1, calls + 1):
        features = {m: golden[f"{m}_in_{call}"].clone().requires_grad_() for m in MODALITIES}
        result = quantizer(features, with_logits=True)
        matching = code_matching_loss(result.logits, form="published")
        by_matching = torch.autograd.grad(matching, list(features.values()), retain_graph=True)
        by_commitment = torch.autograd.grad(sum(result.commitment.values()), list(features.values()))
        torch.testing.assert_close(matching, golden[f"cmcm_loss_{call}"], **EXACT)
        for m, grad_matching, grad_commitment in zip(MODALITIES, by_matching, by_commitment, strict=True):
            assert torch.equal(result.codes[m].flatten(), golden[f"{m}_indices_{call}"])
            torch.testing.assert_close(result.quantized[m], golden[f"{m}_quantized_{call}"], **EXACT)
            torch.testing.assert_close(result.commitment[m], golden[f"{m}_loss_{call}"], **EXACT)
            torch.testing.assert_close(grad_matching, golden[f"grad_cmcm_{m}_{call}"], **EXACT)
            torch.testing.assert_close(grad_commitment, golden[f"grad_commit_{m}_{call}"], **EXACT)
            # the reference adds 1e-10 inside the logarithm; ours is the entropy itself
            torch.testing.assert_close(
                perplexity(result.codes[m], quantizer.size),
                golden[f"{m}_perplexity_{call}"],
                rtol=1e-8,
                atol=0,
            )
        assert_state(quantizer, golden, call)
    assert not quantizer.draws and expected_revivals == (2 if name.startswith("vq_revival") else 0)


def test_the_reference_tells_options_apart(shared):
    """Each option that departs from the published one changes the outcome: the comparison above has teeth."""
    golden = load(shared, "vq_small_warm")
    features = {m: golden[f"{m}_in_1"] for m in MODALITIES}
    for change in (dict(order="joint"), dict(partner="attention"), dict(decay=0.98), dict(epsilon=1e-3)):
        quantizer = published(golden)
        for key, value in change.items():
            setattr(quantizer, key, value)
        quantizer(features)
        assert (quantizer.codebook - golden["embedding_1"]).abs().max() > 1e-6, change
    paper = VectorQuantizer(32, 16, init="uniform", commitment="paper").double()
    paper.codebook.copy_(golden["embedding_0"])
    result = paper.eval()(features, with_logits=True)
    assert (result.commitment["audio"] - golden["audio_loss_1"]).abs() > 0.1
    assert (code_matching_loss(result.logits) - golden["cmcm_loss_1"]).abs() > 0.1
