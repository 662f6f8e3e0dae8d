"""Encoders and decoders: shapes, masks, attention, options, and the convolution under them."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from srcid.model.convolution import Conv3x3, Pointwise, multiply, shrink
from srcid.model.encoders import GridPooling, LstmFrontend, decoder, general_encoder, specific_encoder
from srcid.params import ModelParams, resolve

B, T = 3, 4
SMALL = dict(dim=8, heads=2, specific_dim=6, pooled_dim=5, grid_channels=(6, 10))
SHAPES = [(9,), (1,), (7, 7, 6), (5, 5, 3), (4, 4, 6), (1, 1, 4), (2, 7, 4), (3, 5, 1), (9, 8, 2)]


def params(**changes) -> ModelParams:
    return ModelParams(**{**SMALL, **changes})


def random_mask() -> Tensor:
    """A full clip, a padded one, and one with a gap."""
    return torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], dtype=torch.bool)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "kind, read", [(k, r) for k in ("conv", "light") for r in ("vector", "map")] + [("flat", "vector")]
)
@pytest.mark.parametrize("code", ["linear", "modulated"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_encoded_and_given_back(shape: tuple[int, ...], kind: str, code: str, read: str):
    p = params(grid_encoder=kind, decoder=code, grid_specific=read)
    general, specific = general_encoder(shape, p), specific_encoder(shape, p)
    back = decoder(shape, specific, p)
    x = torch.randn(B, T, *shape)
    z, (full, vector, _) = general(x), specific(x)
    reconstruction = back(z, full if read == "map" else vector)
    assert z.shape == (B, T, 8)
    assert vector.shape == (B, T, specific.width) and full.numel() > 0
    assert reconstruction.shape == x.shape
    (reconstruction.square().sum() + vector.sum()).backward()
    modules = (general, specific, back)
    parameters = [q for module in modules for q in module.parameters()]
    assert all(q.grad is not None and q.grad.isfinite().all() for q in parameters)


@pytest.mark.parametrize("kind", ["conv", "light", "flat"])
@pytest.mark.parametrize("shape", [(9,), (5, 5, 3)])
def test_specific_path_treats_every_step_alone(shape: tuple[int, ...], kind: str):
    p = params(grid_encoder=kind)
    specific = specific_encoder(shape, p).double()
    back = decoder(shape, specific, p).double()
    x, q = torch.randn(B, T, *shape).double(), torch.randn(B, T, 8).double()
    found = specific(x)
    one = specific(x[1:2, 2:3])
    torch.testing.assert_close(one.vector[0, 0], found.vector[1, 2])
    torch.testing.assert_close(back(q[1:2, 2:3], one.vector)[0, 0], back(q, found.vector)[1, 2])


def test_published_map_sizes():
    """7x7x512 gives 3x3 maps; what is too short to shrink keeps its size."""
    assert specific_encoder((7, 7, 2), params()).grids == ((7, 7), (5, 5), (3, 3))
    assert specific_encoder((4, 2, 2), params()).grids == ((4, 2), (2, 2), (2, 2))
    assert shrink((3, 1)) == ((1, 1), (0, 1))


def test_width_of_later_layers():
    assert specific_encoder((9,), params(), width=9).width == 9
    assert specific_encoder((9,), params()).width == 6


def test_layer_norm_of_specific_features():
    for shape, kind in (((9,), "light"), ((5, 5, 3), "light"), ((5, 5, 3), "flat")):
        changes = dict(specific_norm="layer", specific_dim=64, pooled_dim=64, grid_encoder=kind)
        specific = specific_encoder(shape, params(**changes))
        found = specific(100 * torch.randn(B, T, *shape))
        for features in (found.full, found.vector):
            assert features.mean(-1).abs().max() < 1e-4
            assert (features.var(-1, correction=0) - 1).abs().max() < 1e-2


@pytest.mark.parametrize("shape", [(3, 3), (), (0,), (4, 0, 3)])
def test_bad_shapes_are_refused(shape: tuple[int, ...]):
    for build in (general_encoder, specific_encoder):
        with pytest.raises(ValueError, match="need"):
            build(shape, params())


def test_decoder_refuses_another_grid():
    with pytest.raises(ValueError, match="must agree"):
        decoder((5, 5, 3), specific_encoder((7, 7, 3), params()), params())
    with pytest.raises(ValueError, match="need a target"):
        decoder((5, 5, 3), specific_encoder((9,), params()), params())


# Masks


@pytest.mark.parametrize("shape", [(9,), (5, 5, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing_for_valid_steps(shape: tuple[int, ...], training: bool):
    encoder = general_encoder(shape, params(dropout=0.0)).train(training).double()
    mask = random_mask()
    x = torch.randn(B, T, *shape).double()
    other = torch.where(mask.view(B, T, *[1] * len(shape)), x, 1e3)
    with torch.set_grad_enabled(training):
        found = encoder(x, mask)
        torch.testing.assert_close(encoder(other, mask), found)
        torch.testing.assert_close(encoder(x[1:2, :2]), found[1:2, :2])
    assert not found[~mask].any()


def test_clip_without_valid_steps_stays_finite():
    mask = random_mask()
    mask[1] = False
    x = torch.randn(B, T, 9, requires_grad=True)
    for encoder in (general_encoder((9,), params()), LstmFrontend(9, 8)):
        found = encoder(x, mask)
        assert found.isfinite().all() and not found[1].any()
        (grad,) = torch.autograd.grad(found.sum(), x)
        assert grad.isfinite().all() and not grad[1].any()


def test_lstm_skips_padding():
    frontend = LstmFrontend(9, 8).double()
    mask = random_mask()
    x = torch.randn(B, T, 9).double()
    found = frontend(x, mask)
    torch.testing.assert_close(frontend(torch.where(mask[..., None], x, 1e3), mask), found)
    for clip in range(B):
        torch.testing.assert_close(frontend(x[clip : clip + 1, mask[clip]])[0], found[clip, mask[clip]])
    assert not found[~mask].any()


def test_lstm_refuses_odd_width():
    with pytest.raises(ValueError, match="even"):
        LstmFrontend(9, 7)


def test_dropout_acts_in_training_only():
    encoder = general_encoder((9,), params(dropout=0.5))
    x = torch.randn(B, T, 9)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


def test_without_transformer_layers_steps_do_not_mix():
    encoder = general_encoder((9,), params(encoder_depth=0))
    x = torch.randn(B, T, 9)
    torch.testing.assert_close(encoder(x[:, :1]), encoder(x)[:, :1])


# Attention over a grid


def attention_gradients(kind: str) -> list[Tensor]:
    pooling = GridPooling(16, kind)
    pooling(torch.randn(B, T, 3, 3, 16)).square().sum().backward()
    return [p.grad for part in (pooling.guide, pooling.cell, pooling.score) for p in part.parameters()]


def test_softmax_attention_is_a_distribution_and_learns():
    weights = GridPooling(16, "softmax").weights(torch.randn(B, T, 9, 16))
    torch.testing.assert_close(weights.sum(-2), torch.ones(B, T, 1))
    assert weights.std(-2).min() > 0
    # The score's own bias moves all cells alike, so a softmax cannot feel it.
    assert all(g.abs().max() > 1e-6 for g in attention_gradients("softmax")[:-1])


def test_published_attention_never_learns():
    gradients = attention_gradients("sum")
    assert len(gradients) == 6 and all(torch.equal(g, torch.zeros_like(g)) for g in gradients)


# The convolution


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 4), (5, 5), (7, 7), (6, 1), (8, 3)])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("way", ["forward", "_gathered"])
def test_convolution_equals_torch(grid, transposed: bool, padded: bool, way: str):
    """Values and all gradients against torch's own modules, in float64."""
    padding = (1, 1) if padded else shrink(grid)[1]
    mine = Conv3x3(3, 4, grid, padding, transposed).double()
    large, small = grid, tuple(g - 2 + 2 * p for g, p in zip(grid, padding, strict=True))
    height, width = small if transposed else large
    reference = (nn.ConvTranspose2d if transposed else nn.Conv2d)(3, 4, 3, padding=padding).double()
    taps = mine.weight.unflatten(0, (3, 3)).permute((2, 3, 0, 1) if transposed else (3, 2, 0, 1))
    with torch.no_grad():
        reference.weight.copy_(taps)
        reference.bias.copy_(mine.bias)

    x = torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    expected = reference(x)
    found = getattr(mine, way)(x.permute(2, 3, 0, 1).flatten(0, 1)).view(*expected.shape[2:], 2, 4).permute(2, 3, 0, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)

    grad = torch.randn_like(expected)
    want = torch.autograd.grad(expected, (x, reference.weight, reference.bias), grad)
    got = list(torch.autograd.grad(found, (x, mine.weight, mine.bias), grad))
    got[1] = got[1].unflatten(0, (3, 3)).permute((2, 3, 0, 1) if transposed else (3, 2, 0, 1))
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("grid", [(5, 5), (7, 7)])
def test_float32_rounding_is_a_direct_convolutions(grid, monkeypatch):
    """With the weights in several pieces."""
    monkeypatch.setattr("srcid.model.convolution.PIECE", 1)
    convolution = Conv3x3(160, 192, grid)
    x = torch.randn(grid[0] * grid[1], 40, 160, requires_grad=True)
    grad = torch.randn_like(convolution(x))
    found = [convolution(x), *torch.autograd.grad(convolution(x), (x, convolution.weight), grad)]
    exact = convolution.double()
    y = x.detach().double().requires_grad_()
    expected = [exact._direct(y), *torch.autograd.grad(exact._direct(y), (y, exact.weight), grad.double())]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() / other.norm() < 2e-5


def test_convolution_stays_float32_under_autocast(monkeypatch):
    monkeypatch.setattr("srcid.model.convolution._MATRIX_UNITS", False)
    convolution = Conv3x3(8, 8, (5, 5))
    x = torch.randn(25, 6, 8, requires_grad=True)
    plain = convolution(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(x)
    assert found.dtype == torch.float32 and torch.equal(found, plain)
    half = torch.autograd.grad(found.sum(), convolution.weight)[0]
    assert torch.equal(half, torch.autograd.grad(plain.sum(), convolution.weight)[0])


@pytest.mark.parametrize("transposed", [False, True])
def test_convolution_takes_bfloat16_where_there_are_matrix_units(transposed, monkeypatch):
    monkeypatch.setattr("srcid.model.convolution._MATRIX_UNITS", True)
    convolution = Conv3x3(64, 32, (5, 5), transposed=transposed)
    x = torch.randn(9 if transposed else 25, 6, 64, requires_grad=True)
    plain = convolution(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(x)
    assert not torch.equal(found.float(), plain) and (found - plain).norm() / plain.norm() < 0.01
    slopes = [torch.autograd.grad(y.float().square().sum(), (x, convolution.weight)) for y in (found, plain)]
    for half, whole in zip(*slopes, strict=True):
        assert half.dtype == torch.float32 and (half - whole).norm() / whole.norm() < 0.02


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("kind", ["conv", "light"])
def test_autocast_trains_a_whole_branch(kind: str, units: bool, monkeypatch):
    monkeypatch.setattr("srcid.model.convolution._MATRIX_UNITS", units)
    p = params(grid_encoder=kind)
    specific = specific_encoder((5, 5, 3), p)
    back = decoder((5, 5, 3), specific, p)
    x, q = torch.randn(B, T, 5, 5, 3), torch.randn(B, T, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = back(q, specific(x).vector)
    expected = back(q, specific(x).vector)
    assert (found.float() - expected).norm() / expected.norm() < 0.05
    found.float().square().sum().backward()
    assert all(w.grad.dtype == torch.float32 for w in back.parameters())


def test_convolution_of_no_frames():
    assert Conv3x3(8, 4, (7, 7))(torch.zeros(49, 0, 8)).shape == (25, 0, 4)


def test_large_products_equal_matmul():
    left, right = torch.randn(3, 180, 160), torch.randn(3, 160, 150)
    torch.testing.assert_close(multiply(left, right), left @ right, rtol=1e-4, atol=1e-4)
    linear, x = Pointwise(160, 150), torch.randn(5, 36, 160, requires_grad=True)
    expected = nn.functional.linear(x, linear.weight, linear.bias)
    torch.testing.assert_close(linear(x), expected, rtol=1e-4, atol=1e-4)
    grads = [torch.autograd.grad(y.square().sum(), (x, linear.weight, linear.bias)) for y in (linear(x), expected)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_products_are_torchs_own_where_its_private_operator_is_missing(monkeypatch):
    monkeypatch.setattr("srcid.model.convolution._ONEDNN", False)
    left, right = torch.randn(3, 180, 160), torch.randn(3, 160, 150)
    assert torch.equal(multiply(left, right), torch.bmm(left, right))
    convolution = Conv3x3(160, 192, (7, 7))
    x = torch.randn(49, 20, 160)
    torch.testing.assert_close(convolution(x), convolution._direct(x), rtol=1e-3, atol=1e-4)


def test_same_seed_same_step_bit_for_bit():
    def step() -> Tensor:
        torch.manual_seed(3)
        specific = specific_encoder((7, 7, 16), params(grid_channels=(64, 96)))
        back = decoder((7, 7, 16), specific, params())
        x = torch.randn(8, 10, 7, 7, 16)
        back(torch.randn(8, 10, 8), specific(x).vector).square().mean().backward()
        return torch.cat([p.grad.flatten() for m in (specific, back) for p in m.parameters() if p.grad is not None])

    assert torch.equal(step(), step())


# Cost


def flops(kind: str) -> int:
    """FLOPs of specific encoder and decoder, forward, for one frame at paper shape; meta computes nothing."""
    p = resolve("paper", grid_encoder=kind)
    with torch.device("meta"):
        specific = specific_encoder((7, 7, 512), p)
        back = decoder((7, 7, 512), specific, p)
        x, q = torch.empty(1, 1, 7, 7, 512), torch.empty(1, 1, p.dim)
        with FlopCounterMode(display=False) as counter:
            back(q, specific(x).full)
    return counter.get_total_flops()


def test_light_costs_a_tenth_at_most():
    conv, light = flops("conv"), flops("light")
    assert 2.5e9 < conv < 2.7e9  # 6.1e12 for 800 frames, forward and backward
    assert 0 < light <= conv / 30
