"""The published CLUB options reproduce the authors' estimator and its inner training loop."""

import pytest
import torch

from srcid.model.mutual_information import Club
from tests.helpers import reference_tensors

EXACT = dict(rtol=0, atol=1e-10)


class Replayed(Club):
    """Takes its permutation from the reference file."""

    permutation = None

    def _draw_permutation(self, clips, generator):
        return self.permutation


def weights(golden, prefix):
    return {
        key.removeprefix(prefix).replace("__", "."): value for key, value in golden.items() if key.startswith(prefix)
    }


@pytest.fixture(scope="module")
def golden():
    return reference_tensors("club_b7_t5")


@pytest.fixture
def club(golden):
    club = Replayed(16, 24, 32, logvar="tanh", scale="raw").double()
    club.load_state_dict(weights(golden, "w0_"))
    club.permutation = golden["permutation"]
    return club


def test_gaussian(club, golden):
    mu, logvar = club.gaussian(golden["x"])
    torch.testing.assert_close(mu, golden["mu"], **EXACT)
    torch.testing.assert_close(logvar, golden["logvar"], **EXACT)


@pytest.mark.parametrize("quantity, value", [("loglikeli", "loglikeli"), ("mi", "mi_est")])
def test_values_and_gradients(club, golden, quantity, value):
    x, y = golden["x"].clone().requires_grad_(), golden["y"].clone().requires_grad_()
    found = club.log_likelihood(x, y) if quantity == "loglikeli" else club.estimate(x, y, estimator="published")
    torch.testing.assert_close(found, golden[value], **EXACT)
    for grad, name in zip(torch.autograd.grad(found, (x, y)), "xy", strict=True):
        torch.testing.assert_close(grad, golden[f"grad_{quantity}_{name}"], **EXACT)


def test_five_inner_steps(club, golden):
    optimizer = torch.optim.Adam(club.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = -club.log_likelihood(golden["x"], golden["y"])
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(torch.stack(losses), golden["inner_losses"], **EXACT)
    expected = weights(golden, "w5_")
    assert len(expected) == 16
    for name, value in club.state_dict().items():
        torch.testing.assert_close(value, expected[name], **EXACT)
