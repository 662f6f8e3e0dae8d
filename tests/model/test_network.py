"""One layer class used K times: what flows between layers, which losses act, where gradients reach."""

import itertools
import math

import pytest
import torch

from srcid.model.encoders import CodeMeans, LstmFrontend, Specific, rate
from srcid.model.grids import ConvSpecific
from srcid.model.network import SRCID
from srcid.model.output import masked_mse
from srcid.params import resolve
from tests.helpers import demo_model, tiny_params

SHAPES = {"first": (10,), "second": (5, 5, 6), "third": (7,)}


def batch(shapes=SHAPES, clips=6, steps=5):
    generator = torch.Generator().manual_seed(1)
    return {m: torch.randn(clips, steps, *shape, generator=generator) for m, shape in shapes.items()}


def network(shapes=SHAPES, **changes):
    torch.manual_seed(0)
    return SRCID(shapes, tiny_params(**{**demo_model(), **changes}))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_chain_through_specific_features(layers):
    net = network(layers=layers, residual_norm="none")
    outputs = net(batch())
    assert len(outputs) == layers
    for before, after in itertools.pairwise(outputs):
        for m in SHAPES:
            assert torch.equal(after.target[m], before.specific[m])
    for m, shape in SHAPES.items():
        assert outputs[0].reconstruction[m].shape == (6, 5, *shape)
        assert outputs[-1].quantized.quantized[m].shape == (6, 5, 16)


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_modalities(count):
    shapes = {f"m{i}": (4 + i,) for i in range(count)}
    net = network(shapes)
    total, parts = net.losses(net(batch(shapes)))
    assert torch.isfinite(total)
    assert sum(name.startswith("recon/1/") for name in parts) == count


def test_one_modality_is_refused():
    with pytest.raises(ValueError, match="need 2 or more"):
        network({"first": (10,)})


def test_lstm_over_a_grid_is_refused():
    with pytest.raises(ValueError, match=r"grids \['second'\]"):
        network(lstm_modalities=("second",))


def test_total_is_the_weighted_sum_of_its_parts():
    weights = dict(recon_weight=0.5, commit_weight=2.0, cmcm_weight=3.0, cpc_weight=0.25, club_weight=0.1)
    net = network(**weights)
    total, parts = net.losses(net(batch()))
    kinds = {name.split("/")[0] for name in parts}
    assert kinds == {"recon", "commit", "cmcm", "cpc", "mi", "rate"}
    factor = {"mi": 0.1, "rate": net.params.specific_rate, **{k.removesuffix("_weight"): v for k, v in weights.items()}}
    expected = sum(factor[name.split("/")[0]] * value for name, value in parts.items())
    torch.testing.assert_close(total, expected)


def test_layers_are_weighed_and_the_last_weight_serves_all_later_ones():
    net = network(layers=3, layer_weights=(1.0, 0.3), recon_weight=2.0, club_weight=0.1)
    assert [net.weight(f"recon/{k}/first") for k in (1, 2, 3)] == [2.0, 0.6, 0.6]
    assert net.weight("mi/2/first") == pytest.approx(0.03)


@pytest.mark.parametrize(("weight", "kind"), [("cmcm_weight", "cmcm"), ("cpc_weight", "cpc"), ("club_weight", "mi")])
def test_weight_zero_switches_a_loss_off(weight, kind):
    net = network(**{weight: 0.0})
    _, parts = net.losses(net(batch()))
    assert not any(name.startswith(kind) for name in parts)


def test_cmcm_only_in_the_first_layer_as_published():
    net = network(cmcm_layers="first")
    _, parts = net.losses(net(batch()))
    assert "cmcm/1" in parts and "cmcm/2" not in parts


def gradient_reaches(module) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


@pytest.mark.parametrize(
    ("side", "general", "specific"),
    [("both", True, True), ("general", True, False), ("specific", False, True)],
)
def test_club_side_decides_where_its_gradient_goes(side, general, specific):
    net = network(layers=1, club_side=side)
    layer = net.layers[0]
    losses = layer.losses(layer(batch()))
    sum(v for name, v in losses.items() if name.startswith("mi/")).backward()
    assert gradient_reaches(layer.general["first"]) is general
    assert gradient_reaches(layer.specific["first"]) is specific


def test_club_off_keeps_measuring_without_a_gradient():
    net = network(club_off=(1,), club_weight=1.0)
    _, parts = net.losses(net(batch()))
    assert not parts["mi/1/first"].requires_grad
    assert parts["mi/2/first"].requires_grad
    assert net.weight("mi/1/first") == 0 and net.weight("mi/2/first") == 1


def test_club_on_quantised_features_reads_codes():
    net = network(layers=1, club_input="quantized")
    output = net(batch())[0]
    pairs = net.layers[0].club_pairs(output)
    assert torch.equal(pairs["first"][0], output.quantized.quantized["first"])


def test_detached_residual_keeps_layer_2_out_of_layer_1():
    for detach, reaches in ((False, True), (True, False)):
        net = network(residual_detach=detach)
        losses = net.layers[1].losses(net(batch())[1])
        sum(losses.values()).backward()
        assert gradient_reaches(net.layers[0].specific["first"]) is reaches


def test_residual_norm_bounds_what_layer_2_reads():
    net = network(residual_norm="layer")
    target = net(batch())[1].target["first"]
    torch.testing.assert_close(target.var(-1, unbiased=False), torch.ones(6, 5), rtol=0.02, atol=0.02)


def test_the_decoder_reads_the_features_that_club_and_layer_2_read():
    """What is reconstructed from is what is constrained: each gradient must reach the same vector."""
    published = dict(grid_specific="map", grid_encoder="light", specific_rate=0.0, specific_subtraction=False)
    for changes, same in (({}, True), (published, False)):
        net = network(layers=1, **changes)
        layer = net.layers[0]
        output = layer(batch())
        for m in SHAPES:
            (grad,) = torch.autograd.grad(
                layer.losses(output)[f"recon/1/{m}"], output.specific[m], retain_graph=True, allow_unused=True
            )
            if m == "second":
                assert (grad is not None and bool(grad.abs().sum() > 0)) is same
            else:
                assert grad.abs().sum() > 0
            assert torch.equal(layer.club_pairs(output)[m][1], output.specific[m])


@pytest.mark.parametrize("grad", [False, True])
def test_what_later_layers_rebuild_is_moved_only_as_published(grad):
    net = network(target_grad=grad, residual_detach=False)
    outputs = net(batch())
    assert outputs[1].target["first"].requires_grad is grad


def test_the_rate_of_noisy_features_bounds_what_they_tell():
    """Closed form: unit variance and mean 0 tell nothing; one feature of mean +-a at deviation d tells little."""
    mean, deviation = torch.zeros(4, 3, 2), torch.ones(4, 3, 2)
    assert rate(Specific(mean, mean, deviation)) == 0
    mean[..., 0], deviation[..., 0] = 2.0, 0.5
    expected = 0.5 * (4 + 0.25 - 1) - math.log(0.5)
    found = rate(Specific(mean, mean, deviation), torch.eye(4, 3).bool())
    assert found == pytest.approx(expected)


def test_noisy_specific_features_are_drawn_anew_and_their_rate_is_a_loss():
    net = network(specific_rate=0.01)
    one, two = net(batch()), net(batch())
    assert not torch.equal(one[0].specific["second"], two[0].specific["second"])
    _, parts = net.losses(one)
    assert parts["rate/1/second"] > 0 and net.weight("rate/1/second") == 0.01
    plain = network(specific_rate=0.0)
    assert not any(name.startswith("rate") for name in plain.losses(plain(batch()))[1])


def test_subtraction_leaves_nothing_of_the_mean_that_a_code_predicts():
    """Features that are their code's mean plus noise: what is left has mean 0 within every code."""
    means, draw = CodeMeans(4, 3, decay=0.5), torch.Generator().manual_seed(0)
    centres = 10 * torch.randn(4, 3, generator=draw)
    for _ in range(20):
        codes = torch.randint(4, (50, 8), generator=draw)
        features = centres[codes] + torch.randn(50, 8, 3, generator=draw)
        means.learn(features, codes)
        left = features - means(codes)
    for code in range(4):
        assert left[codes == code].mean(0).abs().max() < 0.5 < left[codes == code].std(0).min()
    padded = torch.where(torch.rand(50, 8, generator=draw) < 0.5, codes, -1)
    assert means(padded).isfinite().all()


def test_subtraction_acts_on_what_decoder_club_and_layer_2_read():
    one = network(specific_subtraction=True, specific_rate=0.0)
    outputs = one(batch())
    for m in SHAPES:
        codes = outputs[0].quantized.codes[m][..., 0]
        for code in codes.unique():
            assert outputs[0].specific[m][codes == code].mean(0).abs().max() < 1e-5
    found = list(one.eval().encode(batch()))
    for output, (_, _, specific) in zip(one(batch()), found, strict=True):
        torch.testing.assert_close(specific["second"].vector, output.specific["second"])


@pytest.mark.parametrize("window, reach", [(1, 0), (3, 1)])
def test_a_local_general_encoder_sees_its_window_only(window, reach):
    net = network(layers=1, general_encoder="local", window=window).eval()
    inputs = {m: x.requires_grad_() for m, x in batch().items()}
    _, general, _ = net.layers[0].features(inputs)
    for m in SHAPES:
        (grad,) = torch.autograd.grad(general[m][:, 2].square().sum(), inputs[m])
        seen = grad.abs().flatten(2).sum((0, 2)) > 0
        assert seen.tolist() == [abs(step - 2) <= reach for step in range(5)]


def test_values_at_padded_steps_may_be_anything():
    masks = {m: torch.ones(6, 5, dtype=torch.bool) for m in SHAPES}
    masks["second"][:, 3:] = False
    for encoder in ("local", "transformer"):
        net = network(general_encoder=encoder, window=3, specific_rate=0.01)
        inputs = batch()
        inputs["second"][:, 3:] = torch.nan
        total, _ = net.losses(net(inputs, masks))
        total.backward()
        assert total.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("target", ["input", "encoding", "trainable"])
def test_lstm_target(target):
    net = network({"text": (8,), "other": (6,)}, lstm_modalities=("text",), lstm_dim=10, lstm_target=target)
    inputs = batch({"text": (8,), "other": (6,)})
    output = net(inputs)[0]
    width = 8 if target == "input" else 10
    assert output.reconstruction["text"].shape[-1] == output.target["text"].shape[-1] == width
    assert output.target["text"].requires_grad is (target == "trainable")


def test_masked_steps_change_nothing_for_valid_ones():
    inputs = batch()
    masks = {m: torch.ones(6, 5, dtype=torch.bool) for m in SHAPES}
    masks["third"][:, 3:] = False
    changed = dict(inputs, third=inputs["third"].clone())
    changed["third"][:, 3:] = 50.0
    net = network().eval()
    with torch.no_grad():
        torch.manual_seed(3)
        one, _parts = net.losses(net(inputs, masks))
        torch.manual_seed(3)
        two, _ = net.losses(net(changed, masks))
    torch.testing.assert_close(one, two)
    included = network(padding="included").eval()
    with torch.no_grad():
        torch.manual_seed(3)
        three, _ = included.losses(included(changed, masks))
    assert abs(three - one) > 1


def test_masked_mse_counts_valid_steps_only():
    target = torch.zeros(2, 3, 4)
    prediction = torch.ones(2, 3, 4)
    mask = torch.tensor([[True, False, False], [False, False, False]])
    prediction[0, 0] = 2.0
    assert masked_mse(prediction, target, mask) == 4.0


def test_encode_reads_what_forward_reads():
    net = network().eval()
    inputs = batch()
    outputs = net(inputs)
    for output, (_, general, specific) in zip(outputs, net.encode(inputs), strict=True):
        for m in SHAPES:
            torch.testing.assert_close(general[m], output.general[m])
            torch.testing.assert_close(specific[m].vector, output.passed[m])
    alone = list(net.encode({"third": inputs["third"]}))
    torch.testing.assert_close(alone[1][1]["third"], outputs[1].general["third"])


def test_club_and_main_parameters_are_a_partition():
    net = network()
    club, main = net.club_parameters(), net.main_parameters()
    assert club and main
    assert len(club) + len(main) == len(list(net.parameters()))
    clipped = {id(p) for module in net.modules_to_clip() for p in module.parameters()}
    assert clipped == {id(p) for p in main}


def test_presets_paper_and_published_build_what_they_name():
    shapes = {"audio": (10,), "video": (7, 7, 16), "text": (12,)}
    small = dict(dim=16, specific_dim=12, pooled_dim=16, grid_channels=(8, 12), club_hidden=8, codebook_size=12)
    small["lstm_dim"] = 8
    for name, published in (("paper", False), ("published", True)):
        net = SRCID(shapes, resolve(name, **small)).double()
        first, second = net.layers
        assert isinstance(first.frontend["text"], LstmFrontend) and not second.frontend
        assert first.general["video"].pooling.axis == (-1 if published else -2)
        assert isinstance(first.specific["video"], ConvSpecific)
        assert first.quantizer.order == ("sequential" if published else "joint")
        assert first.quantizer.partner == ("index" if published else "attention")
        assert first.quantizer.init == ("uniform" if published else "samples")
        assert first.cpc.negatives == ("predictions" if published else "targets")
        assert first.cpc.context["text"].num_layers == (2 if published else 1)
        assert first.cpc.same_weight == (0.1 if published else 0.0)
        assert first.club["audio"].limit == (1.0 if published else 10.0)
        assert first.matches_codes and second.matches_codes is not published
        assert first.widths == second.widths
        inputs = {m: x.double() for m, x in batch(shapes).items()}
        total, _ = net.losses(net(inputs))
        total.backward()
        untouched = [n for n, p in net.named_parameters() if p.grad is None]
        assert not untouched
