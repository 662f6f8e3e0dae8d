"""The published CPC options reproduce the authors' loss at four time steps, and its gradient."""

import pytest
import torch

from srcid.model.alignment import CrossModalCPC
from tests.helpers import reference_tensors

MODALITIES = ("audio", "video", "text")
EXACT = dict(rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def golden():
    return reference_tensors("cpc_b6_t10_d16")


@pytest.fixture(scope="module")
def cpc(golden):
    cpc = CrossModalCPC(MODALITIES, 16, horizon=1, depth=2, same_weight=0.1, negatives="predictions").double()
    state = {}
    for key, value in golden.items():
        if key.startswith("w_"):
            part, _, rest = key.removeprefix("w_").partition("__")
            name, kind = part.split("_", 1)
            state[f"context.{name}.{rest}" if kind == "ar_lstm" else f"predictor.{name}.{rest.split('__')[1]}"] = value
    cpc.load_state_dict(state)
    return cpc


def test_loss_and_gradient(cpc, golden):
    features = {m: golden[m].clone().requires_grad_() for m in MODALITIES}
    losses = torch.stack([cpc(features, step=int(t)) for t in golden["t_samples"]])
    torch.testing.assert_close(losses, golden["nce"], **EXACT)
    grads = torch.autograd.grad(losses[0], list(features.values()))
    for m, grad in zip(MODALITIES, grads, strict=True):
        torch.testing.assert_close(grad, golden[f"grad_{m}_0"], **EXACT)


def test_steps_are_drawn_from_the_published_range(cpc, golden):
    torch.manual_seed(0)
    drawn = {cpc.draw_step(10) for _ in range(300)}
    assert drawn == set(range(1, int(golden["randint_high"]) + 1))


def test_negatives_from_targets_differ(cpc, golden):
    """The direction of the softmax is visible in these numbers: the comparison above has teeth."""
    other = CrossModalCPC(MODALITIES, 16, depth=2, same_weight=0.1, negatives="targets").double()
    other.load_state_dict(cpc.state_dict())
    assert abs(other({m: golden[m] for m in MODALITIES}, step=1) - golden["nce"][0]) > 0.1
