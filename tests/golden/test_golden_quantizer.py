"""The published options of the quantiser reproduce the authors' code over three consecutive steps."""

import pytest
import torch

from srcid.model.alignment import code_matching_loss
from srcid.model.output import perplexity
from srcid.model.quantize import VectorQuantizer, make_quantizer
from srcid.params import resolve
from tests.helpers import reference_tensors

MODALITIES = ("audio", "video", "text")
EXACT = dict(rtol=0, atol=1e-10)


class Replayed(VectorQuantizer):
    """Takes its revival draws from the reference file."""

    draws = ()

    def _draw_copies(self, choices, number):
        (table, noise), self.draws = self.draws[0], self.draws[1:]
        assert table[:, 0].tolist() == [0] * number and table[:, 1].tolist() == [choices - 1] * number
        return table[:, 2], noise.double()


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
def test_published_options_reproduce_the_reference(name, calls):
    golden = reference_tensors(name)
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


def test_the_reference_tells_options_apart():
    """Each option that departs from the published one changes the outcome: the comparison above has teeth."""
    golden = reference_tensors("vq_small_warm")
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


# ------------------------------------------------------------------------------- residual stages, and two layers


def state_from(stage, golden, index, cls=Replayed):
    stage.__class__ = cls
    for name, key in (
        ("codebook", "embedding"),
        ("counts", "ema_count"),
        ("sums", "ema_weight"),
        ("idle", "unactivated_count"),
    ):
        buffer = getattr(stage, name)
        buffer.copy_(golden[f"{key}_0"][index].to(buffer.dtype))


def assert_stage(stage, golden, index, call):
    for name, key in (("codebook", "embedding"), ("counts", "ema_count"), ("sums", "ema_weight")):
        torch.testing.assert_close(getattr(stage, name), golden[f"{key}_{call}"][index], **EXACT)
    assert torch.equal(stage.idle, golden[f"unactivated_count_{call}"][index].long())


def age_as_published(stage, codes, z):
    """The published code counts and revives in evaluation too, where ours leaves a codebook as it is."""
    used = torch.zeros_like(stage.idle, dtype=torch.bool).index_fill_(0, codes.flatten(), True)
    stage._age(used, z, None)


@pytest.mark.parametrize(
    "name, training, revived",
    [("fresh", (1, 1, 1, 0), 0), ("warm", (1, 1, 1, 1), 0), ("revival", (1, 1, 0, 0), 7)],
)
def test_published_residual_stages_reproduce_the_reference(name, training, revived):
    golden = reference_tensors(f"rvq_published_{name}")
    stages, size, dim = golden["embedding_0"].shape
    params = resolve("published", quantizer="rvq", stages=stages, codebook_size=size)
    quantizer = make_quantizer(params, dim).double()
    for index, stage in enumerate(quantizer.stages):
        state_from(stage, golden, index)
    seen = 0
    for call, train in enumerate(training, 1):
        assert bool(golden[f"training_{call}"]) is bool(train)
        draws = [golden[key] for key in (f"revival_randint_{call}", f"revival_noise_{call}") if key in golden]
        due = [int((golden[f"unactivated_count_{call - 1}"][s] >= 300).sum()) for s in range(stages)]
        features = {m: golden[f"{m}_in_{call}"].clone().requires_grad_() for m in MODALITIES}
        # whose turn it is to draw: codes that pass 300 now and are not used by anybody
        for s, stage in enumerate(quantizer.stages):
            codes = torch.cat([golden[f"{m}_indices_{call}"][s] for m in MODALITIES]).unique()
            idle = golden[f"unactivated_count_{call - 1}"][s] + 1
            idle[codes] = 0
            due[s] = int((idle > 300).sum())
            if due[s]:
                stage.draws = [(draws[0][: due[s]], draws[1][: due[s]])]
                draws = [part[due[s] :] for part in draws]
                seen += due[s]
        assert not draws or not len(draws[0])
        quantizer.train(bool(train))
        result = quantizer(features)
        residuals = torch.stack([features[m].detach() for m in MODALITIES])
        for s, stage in enumerate(quantizer.stages):
            codes = torch.stack([result.codes[m][..., s] for m in MODALITIES])
            if not train:
                age_as_published(stage, codes, residuals)
        by_commitment = torch.autograd.grad(sum(result.commitment.values()), list(features.values()))
        for m, grad in zip(MODALITIES, by_commitment, strict=True):
            assert torch.equal(result.codes[m].flatten(0, 1).T, golden[f"{m}_indices_{call}"])
            torch.testing.assert_close(result.quantized[m], golden[f"{m}_quantized_{call}"], **EXACT)
            torch.testing.assert_close(result.commitment[m], golden[f"{m}_loss_{call}"], **EXACT)
            torch.testing.assert_close(grad, golden[f"grad_commit_{m}_{call}"], **EXACT)
        for s, stage in enumerate(quantizer.stages):
            assert_stage(stage, golden, s, call)
    assert seen == revived
    last = len(training)
    for m in MODALITIES:
        codes = quantizer.encode(golden[f"{m}_in_{last}"])
        assert torch.equal(codes.flatten(0, 1).T, golden[f"encode_{m}_indices"])
        torch.testing.assert_close(quantizer.decode(codes), golden[f"encode_{m}_quantized"], **EXACT)


@pytest.mark.parametrize("name, training", [("fresh", (1, 1, 1)), ("warm", (1, 1, 0, 1)), ("revival_d256", (1, 0))])
def test_the_published_codebooks_of_two_layers_reproduce_the_reference(name, training):
    golden = reference_tensors(f"two_layer_quantizer_{name}")
    layers, size, dim = golden["embedding_0"].shape
    quantizers = [
        make_quantizer(resolve("published-two-layer", codebook_size=size, ema_repeats=1), dim).double()
        for _ in range(layers)
    ]
    for index, quantizer in enumerate(quantizers):
        state_from(quantizer, golden, index)
    for call, train in enumerate(training, 1):
        for quantizer, layer in zip(quantizers, ("first", "second"), strict=True):
            if f"{layer}_revival_randint_{call}" in golden:
                quantizer.draws = [(golden[f"{layer}_revival_randint_{call}"], golden[f"{layer}_revival_noise_{call}"])]
            features = {m: golden[f"{layer}_{m}_in_{call}"].clone().requires_grad_() for m in MODALITIES}
            result = quantizer.train(bool(train))(features)
            if not train:
                z = torch.stack([x.detach() for x in features.values()])
                age_as_published(quantizer, torch.stack(list(result.codes.values())), z)
            grads = torch.autograd.grad(sum(result.commitment.values()), list(features.values()))
            for m, grad in zip(MODALITIES, grads, strict=True):
                assert torch.equal(result.codes[m].flatten(), golden[f"{layer}_{m}_indices_{call}"])
                torch.testing.assert_close(result.quantized[m], golden[f"{layer}_{m}_quantized_{call}"], **EXACT)
                torch.testing.assert_close(result.commitment[m], golden[f"{layer}_{m}_loss_{call}"], **EXACT)
                torch.testing.assert_close(grad, golden[f"{layer}_grad_commit_{m}_{call}"], **EXACT)
            assert not quantizer.draws
        for index, quantizer in enumerate(quantizers):
            assert_stage(quantizer, golden, index, call)
