"""Quantisers of vector-quantize-pytorch: every argument is ours, and where both do the same they agree."""

import inspect
import math

import pytest
import torch
import vector_quantize_pytorch as library

from srcid.model import library_quantizer as adapters
from srcid.model.quantize import FiniteScalarQuantizer, ResidualQuantizer, make_quantizer
from srcid.params import LIBRARY_QUANTIZERS, ParameterError, QuantizerParams, resolve

D, L = 6, 16


def params(kind, **options):
    return QuantizerParams(**{"quantizer": kind, "codebook_size": L, "stages": 2, **options})


def rows(clips=20, steps=5, seed=0, names=("only",)):
    draw = torch.Generator().manual_seed(seed)
    return {m: torch.randn(clips, steps, D, generator=draw) for m in names}


def names_of(module):
    found = inspect.signature(module.__init__).parameters.values()
    return {p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - {"self"}


SIGNATURES = {
    "VectorQuantize": ({"dim", "codebook_size"}, adapters.ema_options(params("vq-rotation"), True)),
    "ResidualVQ": ({"dim", "num_quantizers", "codebook_size"}, adapters.residual_vq_options(D)),
    "LFQ": ({"dim", "codebook_size"}, adapters.lfq_options(0.25, True)),
    "SimVQ": ({"dim", "codebook_size"}, adapters.simvq_options(D)),
    "FSQ": ({"levels", "dim", "preserve_symmetry", "bound_hard_clamp"}, adapters.fsq_stage_options()),
    "ResidualFSQ": (
        {"levels", "num_quantizers", "dim"},
        {name: value for name, value in adapters.rfsq_options().items() if name not in adapters.fsq_stage_options()},
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_argument_of_the_library_is_set_here(name):
    given, ours = SIGNATURES[name]
    assert names_of(getattr(library, name)) == given | set(ours)
    assert not given & set(ours)


def test_the_arguments_reach_the_library(monkeypatch):
    seen = {}
    for name in ("VectorQuantize", "ResidualVQ", "LFQ", "SimVQ", "ResidualFSQ"):
        whole = getattr(library, name)

        def spy(name=name, whole=whole, **arguments):
            seen[name] = arguments
            return whole(**arguments)

        monkeypatch.setattr(library, name, spy)
    for kind in LIBRARY_QUANTIZERS:
        make_quantizer(params(kind, decay=0.91, beta=0.5, ema_epsilon=1e-3, stages=3), D)
    assert len(seen) == len(LIBRARY_QUANTIZERS)
    assert seen["VectorQuantize"]["decay"] == 0.91 and seen["VectorQuantize"]["commitment_weight"] == 0.5
    assert seen["VectorQuantize"]["rotation_trick"] and not seen["ResidualVQ"]["rotation_trick"]
    assert seen["ResidualVQ"]["num_quantizers"] == 3 and seen["ResidualVQ"]["eps"] == 1e-3
    assert seen["LFQ"]["codebook_size"] == 16 and seen["LFQ"]["commitment_loss_weight"] == 0.5
    assert seen["ResidualFSQ"]["num_quantizers"] == 3


@pytest.mark.parametrize("revival", ["off", "reset"])
def test_residual_stages_of_one_modality_are_those_of_ours(revival):
    theirs = make_quantizer(params("rvq-library", codebook_init="uniform", revival=revival, decay=0.9), D)
    ours = ResidualQuantizer(2, L, D, decay=0.9, idle="shrink", init="uniform", revival="off")
    for stage, other in zip(ours.stages, theirs.library.layers, strict=True):
        stage.codebook.copy_(torch.randn(L, D))
        stage.counts.fill_(1.0)
        stage.sums.copy_(stage.codebook)
        other._codebook.embed.copy_(stage.codebook[None])
        other._codebook.embed_avg.copy_(stage.codebook[None])
    for step in range(3 if revival == "off" else 1):
        features = rows(seed=step)
        left, right = ours(features), theirs(features)
        assert torch.equal(left.codes["only"], right.codes["only"])
        torch.testing.assert_close(left.quantized["only"], right.quantized["only"])
        torch.testing.assert_close(left.commitment["only"], right.commitment["only"])
        # ours smooths the running counts, theirs a copy of them: a difference of the order of epsilon
        torch.testing.assert_close(ours.codebooks, theirs.codebooks, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("levels", [(5, 5), (8, 7, 6), (4, 4, 4, 3)])
def test_finite_scalars_are_those_of_ours_away_from_the_edges(levels):
    ours = FiniteScalarQuantizer(len(levels), levels, projection=False)
    theirs = library.FSQ(levels=list(levels), dim=len(levels), preserve_symmetry=False, bound_hard_clamp=False,
                         **adapters.fsq_stage_options())  # fmt: skip
    z = 2 * torch.randn(4000, len(levels), generator=torch.Generator().manual_seed(1))
    bounded = ours._bound(z)
    inside = ((bounded - bounded.floor() - 0.5).abs() > 0.02).all(-1)  # both bounds differ by a margin at the edges
    values, _ = theirs(z[None])
    assert inside.float().mean() > 0.8
    torch.testing.assert_close(ours.decode(ours.encode(z))[inside], values[0][inside])


@pytest.mark.parametrize("kind", ["vq-rotation", "rvq-library"])
@pytest.mark.parametrize("init", ["samples", "kmeans"])
def test_codebooks_start_from_data_in_training_only(kind, init):
    torch.manual_seed(0)
    quantizer = make_quantizer(params(kind, codebook_init=init), D)
    before = quantizer.codebooks.clone()
    quantizer.eval()(rows())
    assert torch.equal(quantizer.codebooks, before) and not quantizer.ready
    features = {"only": 100 + rows()["only"]}
    first = quantizer.train()(features)
    assert quantizer.ready and first.codes["only"][..., 0].unique().numel() > 3
    assert (first.quantized["only"] - features["only"]).norm(dim=-1).mean() < 5  # codes lie where the data are


@pytest.mark.parametrize("kind", ["vq-rotation", "rvq-library"])
def test_a_code_that_nobody_uses_is_replaced_and_survives(kind):
    torch.manual_seed(0)
    quantizer = make_quantizer(params(kind, codebook_init="uniform", revival_after=5, decay=0.8), D)
    stage = quantizer.library if kind == "vq-rotation" else quantizer.library.layers[0]
    stage._codebook.embed.fill_(0.0)
    stage._codebook.embed[0, 0] = 1e3  # far from everything
    stage._codebook.embed_avg.copy_(stage._codebook.embed)
    lengths = []
    for step in range(12):
        quantizer(rows(seed=step))
        lengths.append(float(quantizer.codebooks[0, 0].norm()))
    assert lengths[3] > 900 and max(lengths[8:]) < 10


def test_the_gradient_of_the_rotation_trick_keeps_its_length():
    torch.manual_seed(0)
    quantizer = make_quantizer(params("vq-rotation"), D)
    quantizer(rows())
    features = rows(seed=1)["only"].requires_grad_()
    values = quantizer({"only": features}).quantized["only"]
    weight = torch.randn_like(values)
    gradient = torch.autograd.grad((values * weight).sum(), features)[0]
    scale = values.detach().norm(dim=-1) / features.detach().norm(dim=-1)
    torch.testing.assert_close(gradient.norm(dim=-1), scale * weight.norm(dim=-1), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(gradient, weight, atol=1e-2)  # straight-through would pass it on as it is


@pytest.mark.parametrize("kind", ["lfq", "simvq", "rfsq"])
def test_what_has_no_ema_learns_by_gradient(kind):
    torch.manual_seed(0)
    quantizer = make_quantizer(params(kind), D)
    optimiser = torch.optim.Adam(quantizer.parameters(), lr=1e-2)
    target, errors = rows(clips=40), []
    for _ in range(120):
        result = quantizer(target)
        error = (result.quantized["only"] - target["only"]).square().mean()
        optimiser.zero_grad()
        (error + result.commitment["only"]).backward()
        optimiser.step()
        errors.append(error.item())
    assert sum(errors[-10:]) / 10 < 0.8 * errors[0]


def test_sizes_are_those_reachable():
    assert make_quantizer(params("lfq", codebook_size=400), D).sizes == (512,)
    assert make_quantizer(params("rfsq", fsq_levels=(5, 3), stages=3), D).sizes == (15, 15, 15)
    assert make_quantizer(params("rvq-library", stages=4), D).sizes == (L,) * 4


@pytest.mark.parametrize("kind", LIBRARY_QUANTIZERS)
def test_nearest_begins_with_the_code_itself(kind):
    torch.manual_seed(0)
    quantizer = make_quantizer(params(kind), D)
    quantizer(rows())
    distances, codes = quantizer.nearest(rows(seed=2)["only"], 3)
    same = codes[..., 0] == quantizer.encode(rows(seed=2)["only"])[..., 0]
    assert same.float().mean() > 0.99  # FSQ stages clamp softly: an edge may round the other way
    assert (distances.diff(dim=-1) >= 0).all() and math.isfinite(float(distances.max()))


def test_settings_the_library_does_not_have_are_refused():
    with pytest.raises(ParameterError, match=r"revival=row.*\n.*float32"):
        resolve("demo", quantizer="vq-rotation", revival="row", precision="float64")
    assert resolve("demo", quantizer="lfq", revival="row").revival == "row"  # has no codes to revive


def test_a_missing_library_is_named_before_work_starts(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"not installed; say \./lab install quantizers"):
        resolve("demo", quantizer="simvq")
    assert resolve("demo", quantizer="rvq").quantizer == "rvq"
