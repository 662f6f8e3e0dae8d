"""CLUB: the closed form against explicit sums, the sampled form against it, masks, and known answers."""

import itertools
import math

import pytest
import torch

from srcid.model.mutual_information import Club

B, T, X, Y = 6, 3, 5, 4


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def features():
    return torch.randn(B, T, X, dtype=torch.float64), 2 + torch.randn(B, T, Y, dtype=torch.float64)


def some_mask():
    mask = torch.rand(B, T) < 0.7
    mask[:, 0] = False  # a step at which no clip is valid
    mask[:, 1] = True
    return mask


def log_normal(y, mu, logvar):
    return (-0.5 * (y - mu) ** 2 / logvar.exp() - 0.5 * logvar).sum()


def explicit(club, x, y, mask):
    """Eq. 6 as it stands: every valid clip against every valid clip at the same step."""
    y = (y - y[mask].mean(0)) / y[mask].var(0, unbiased=False).sqrt()
    mu, logvar = club.gaussian(x)
    total, number = 0.0, 0
    for t in range(T):
        clips = [b for b in range(B) if mask[b, t]]
        for i in clips:
            own = log_normal(y[i, t], mu[i, t], logvar[i, t])
            others = [log_normal(y[j, t], mu[i, t], logvar[i, t]) for j in clips]
            total, number = total + own - sum(others) / len(others), number + 1
    return total / number


both_heads = pytest.mark.parametrize("logvar", ["free", "tanh"])
with_and_without_mask = pytest.mark.parametrize("masked", [False, True])


@both_heads
@with_and_without_mask
def test_exact_is_the_explicit_average_over_all_negatives(logvar, masked):
    club, (x, y) = Club(X, Y, 16, logvar).double(), features()
    mask = some_mask() if masked else None
    x.requires_grad_(), y.requires_grad_()
    found = club.estimate(x, y, mask)
    expected = explicit(club, x, y, torch.ones(B, T, dtype=torch.bool) if mask is None else mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for a, b in zip(torch.autograd.grad(found, (x, y)), torch.autograd.grad(expected, (x, y)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@with_and_without_mask
def test_sampled_averages_to_exact_over_all_permutations(masked):
    club = Club(X, Y, 16).double()
    x, y = (value[:4] for value in features())
    mask = some_mask()[:4] if masked else None
    orders = iter([torch.tensor(order) for order in itertools.permutations(range(4))])
    club._draw_permutation = lambda clips, generator: next(orders)
    sampled = torch.stack([club.estimate(x, y, mask, "sampled") for _ in range(math.factorial(4))])
    torch.testing.assert_close(sampled.mean(), club.estimate(x, y, mask), rtol=0, atol=1e-10)
    assert sampled.std() > 1e-3


@pytest.mark.parametrize("estimator", ["sampled", "published"])
def test_permutations_follow_the_generator(estimator):
    club, (x, y) = Club(X, Y, 16).double(), features()
    draw = [club.estimate(x, y, None, estimator, torch.Generator().manual_seed(s)).item() for s in (1, 1, 2, 3)]
    assert draw[0] == draw[1] and len(set(draw)) == 3


@pytest.mark.parametrize("estimator", ["exact", "sampled", "published"])
@both_heads
def test_padded_steps_have_no_say(estimator, logvar):
    club, (x, y), mask = Club(X, Y, 16, logvar).double(), features(), some_mask()
    junk = [torch.where(mask[..., None], value, 9.0) for value in (x, y)]
    for method in (
        lambda a, b: club.estimate(a, b, mask, estimator, torch.Generator().manual_seed(0)),
        lambda a, b: club.log_likelihood(a, b, mask),
    ):
        torch.testing.assert_close(method(x, y), method(*junk))
    whole = torch.ones(B, T, dtype=torch.bool)
    plain, masked = (club.estimate(x, y, m, estimator, torch.Generator().manual_seed(0)) for m in (None, whole))
    torch.testing.assert_close(plain, masked)
    torch.testing.assert_close(club.log_likelihood(x, y), club.log_likelihood(x, y, whole))


def test_log_likelihood_is_that_of_a_gaussian():
    club, (x, y) = Club(X, Y, 16).double(), features()
    mu, logvar = club.gaussian(x)
    y = (y - y.mean((0, 1))) / y.var((0, 1), unbiased=False).sqrt()
    expected = torch.distributions.Normal(mu, (0.5 * logvar).exp()).log_prob(y).sum(-1).mean()
    torch.testing.assert_close(club.log_likelihood(x, y), expected + Y / 2 * math.log(2 * math.pi))


@pytest.mark.parametrize("logvar, limit", [("free", 10), ("tanh", 1)])
def test_log_variances_stay_within_their_limit_and_keep_a_gradient(logvar, limit):
    club, x = Club(X, Y, 16, logvar), 1e4 * torch.randn(B, T, X)
    assert club.gaussian(x)[1].abs().max() <= limit
    raw = torch.tensor([0.5 * limit], requires_grad=True)
    bounded = club.limit * torch.tanh(raw / club.limit)
    assert torch.autograd.grad(bounded, raw)[0] > 0.5


def test_correlated_gaussians_reach_the_known_value():
    """For unit Gaussians of correlation r, E log q(y|x) - E E log q(y_j|x_i) is r^2 / (1 - r^2) each."""
    r, dims = 0.6, 2
    x = torch.randn(500, 4, dims)
    y = r * x + math.sqrt(1 - r * r) * torch.randn_like(x)
    club = Club(dims, dims, 32)
    optimizer = torch.optim.Adam(club.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        (-club.log_likelihood(x, y)).backward()
        optimizer.step()
    expected = dims * r * r / (1 - r * r)
    with torch.no_grad():
        dependent, independent = club.estimate(x, y), club.estimate(x, y[torch.randperm(500)])
    assert dependent == pytest.approx(expected, rel=0.2)
    assert independent.abs() < 0.2 < -0.5 * dims * math.log(1 - r * r) < dependent


@pytest.mark.parametrize("masked", [False, True])
def test_the_scale_of_y_changes_nothing_unless_asked_for(masked):
    x, y = features()
    mask = some_mask() if masked else None
    for scale, same in (("standard", True), ("raw", False)):
        club = Club(X, Y, 16, scale=scale).double()
        far = (5 + 1e-3 * y).requires_grad_()
        values = [(club.estimate(x, v, mask), club.log_likelihood(x, v, mask)) for v in (y, far)]
        assert torch.allclose(torch.stack(values[0]), torch.stack(values[1]), rtol=1e-6) is same
        (grad,) = torch.autograd.grad(values[1][0], far)
        assert not same or grad.mean((0, 1)).abs().max() < 1e-6 * grad.abs().max()  # shifting y moves nothing


def test_skill_is_positive_only_where_q_knows_something():
    x = torch.randn(300, 4, 3)
    y = x @ torch.randn(3, 3) + 0.5 * torch.randn(300, 4, 3)
    club = Club(3, 3, 64)

    def skill(a, b):
        with torch.no_grad():
            return float(club.log_likelihood(a, b) - club.independent(b))

    optimizer = torch.optim.Adam(club.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (-club.log_likelihood(x[:200], y[:200])).backward()
        optimizer.step()
    assert skill(x[200:], y[200:]) > 0.5
    assert skill(x[200:], y[200:].flip(0)) < -0.5


def test_minimising_the_bound_disentangles():
    x = torch.randn(100, 2, 3)
    y = (x @ torch.randn(3, 3)).clone().requires_grad_()
    club = Club(3, 3, 32)
    fit, move = torch.optim.Adam(club.parameters(), lr=1e-2), torch.optim.Adam([y], lr=1e-1)
    estimates = []
    for _ in range(50):
        for _ in range(5):
            fit.zero_grad()
            (-club.log_likelihood(x, y.detach())).backward()
            fit.step()
        estimate = club.estimate(x, y)
        estimates.append(float(estimate.detach()))
        move.zero_grad()
        estimate.backward()
        move.step()
    assert max(estimates) > 1 and estimates[-1] < 0.2 * max(estimates)


def test_empty_and_single_clips_give_zero():
    club, (x, y) = Club(X, Y, 16).double(), features()
    assert club.estimate(x[:0], y[:0]) == 0 and club.log_likelihood(x[:0], y[:0]) == 0
    assert club.estimate(x[:1], y[:1]).abs() < 1e-12
    nothing = torch.zeros(B, T, dtype=torch.bool)
    assert club.estimate(x, y, nothing) == 0 and club.log_likelihood(x, y, nothing) == 0


def test_an_unknown_estimator_is_refused():
    club, (x, y) = Club(X, Y, 16).double(), features()
    with pytest.raises(ValueError, match="found estimator 'best', need exact, sampled or published"):
        club.estimate(x, y, estimator="best")
