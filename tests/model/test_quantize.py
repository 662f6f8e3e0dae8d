"""Quantisers: nearest codes, straight-through gradients, MM-EMA, revival, masks, state, no waiting for a GPU."""

import copy
import itertools
import math

import pytest
import torch

from srcid.model import quantizer as interface
from srcid.model import scalar_quantizer
from srcid.model.assignment import assign
from srcid.model.output import agreement, perplexity
from srcid.model.quantize import (
    FiniteScalarQuantizer,
    IdentityQuantizer,
    QuantizerError,
    ResidualQuantizer,
    VectorQuantizer,
    fsq_levels,
    make_quantizer,
)
from srcid.params import LIBRARY_QUANTIZERS, ParameterError, QuantizerParams, resolve

NAMES = ("first", "second", "third")
B, T, D, L = 5, 4, 6, 9


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def batch(names=NAMES, clips=B, steps=T, dim=D, dtype=torch.float64):
    return {m: torch.randn(clips, steps, dim, dtype=dtype) for m in names}


def some_masks(names=NAMES):
    masks = {m: torch.rand(B, T) < 0.7 for m in names}
    masks[names[-1]][0] = False  # one clip lacks the modality altogether
    return masks


def warm(size=L, dim=D, **options):
    """A quantiser in the midst of training, in float64."""
    quantizer = VectorQuantizer(size, dim, init="uniform", **options).double()
    quantizer.codebook.normal_()
    quantizer.counts.uniform_(1, 5)
    quantizer.sums.copy_(quantizer.codebook * quantizer.counts[:, None])
    return quantizer


KINDS = {
    "vq": lambda: VectorQuantizer(L, D),
    "vq-cosine": lambda: VectorQuantizer(L, D, metric="cosine"),
    "vq-joint": lambda: VectorQuantizer(L, D, assignment="joint"),
    "vq-transport": lambda: VectorQuantizer(L, D, metric="cosine", assignment="transport"),
    "rvq": lambda: ResidualQuantizer(3, L, D),
    "fsq": lambda: FiniteScalarQuantizer(D, (4, 3)),
    "fsq-direct": lambda: FiniteScalarQuantizer(D, (4, 3), projection=False),
    "identity": lambda: IdentityQuantizer(D),
    **{
        kind: lambda kind=kind: make_quantizer(QuantizerParams(quantizer=kind, codebook_size=L, stages=2), D)
        for kind in LIBRARY_QUANTIZERS
    },
}
STAGES = {"vq": 1, "vq-cosine": 1, "vq-joint": 1, "vq-transport": 1, "rvq": 3, "fsq": 2, "fsq-direct": D, "identity": 0}
STAGES |= {"vq-rotation": 1, "rvq-library": 2, "lfq": 1, "simvq": 1, "rfsq": 2}
every_kind = pytest.mark.parametrize("kind", KINDS)


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_state(left, right):
    assert left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


# --------------------------------------------------------------------------------------------- all quantisers


@every_kind
@pytest.mark.parametrize("count", [1, 2, 4])
def test_shapes_for_any_number_of_modalities(kind, count):
    quantizer = KINDS[kind]()
    result = quantizer(batch([f"m{i}" for i in range(count)], dtype=torch.float32), with_logits=True)
    stages = STAGES[kind]
    assert len(result.quantized) == len(result.codes) == len(result.commitment) == count
    assert len(result.sizes) == stages
    for m in result.quantized:
        assert result.quantized[m].shape == (B, T, D)
        assert result.codes[m].shape == (B, T, stages) and result.codes[m].dtype == torch.int64
        assert result.commitment[m].shape == ()
        for s, size in enumerate(result.sizes):
            assert result.codes[m][..., s].min() >= 0 and result.codes[m][..., s].max() < size


@every_kind
def test_evaluation_is_bit_identical_and_agrees_with_encode_and_decode(kind):
    quantizer = KINDS[kind]()
    quantizer(batch(dtype=torch.float32))
    quantizer.eval()
    before, features = state_of(quantizer), batch(dtype=torch.float32)
    first, second = quantizer(features, with_logits=True), quantizer(features)
    assert_same_state(before, state_of(quantizer))
    for m, z in features.items():
        assert torch.equal(first.codes[m], second.codes[m])
        assert torch.equal(first.quantized[m], second.quantized[m])
        assert torch.equal(first.codes[m], quantizer.encode(z))
        if kind != "identity":
            torch.testing.assert_close(quantizer.decode(first.codes[m]), first.quantized[m])


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_works_and_changes_nothing(kind, training):
    quantizer = KINDS[kind]()
    for warmed in (False, True):
        if warmed:
            quantizer.train()(batch(dtype=torch.float32))
        before = state_of(quantizer)
        result = quantizer.train(training)(batch(clips=0, dtype=torch.float32), with_logits=True)
        assert_same_state(before, state_of(quantizer))
        assert all(result.quantized[m].shape == (0, T, D) and result.commitment[m] == 0 for m in NAMES)


@every_kind
def test_padded_steps_have_no_say(kind):
    masks, features = some_masks(), batch(dtype=torch.float32)
    other = {m: torch.where(masks[m].unsqueeze(-1), z, torch.randn_like(z)) for m, z in features.items()}
    outcomes = []
    for version in (features, other):
        torch.manual_seed(3)
        quantizer = KINDS[kind]()
        quantizer(version, masks)
        outcomes.append((quantizer(version, masks), state_of(quantizer)))
    (left, left_state), (right, right_state) = outcomes
    assert_same_state(left_state, right_state)
    for m in NAMES:
        torch.testing.assert_close(left.commitment[m], right.commitment[m])
        assert torch.equal(left.quantized[m], right.quantized[m])
        assert torch.equal(left.codes[m], right.codes[m])
        assert (left.codes[m][~masks[m]] == -1).all() and (left.quantized[m][~masks[m]] == 0).all()
        assert (left.codes[m][masks[m]] >= 0).all()


@every_kind
def test_masks_that_hide_nothing_change_nothing(kind):
    features = batch(dtype=torch.float32)
    whole = {m: torch.ones(B, T, dtype=torch.bool) for m in NAMES}
    outcomes = []
    for masks in (None, whole, {"second": whole["second"]}):
        torch.manual_seed(3)
        quantizer = KINDS[kind]()
        quantizer = quantizer if kind in LIBRARY_QUANTIZERS else quantizer.double()
        result = quantizer(features, masks)
        outcomes.append((result, state_of(quantizer)))
    for result, state in outcomes[1:]:
        for m in NAMES:
            assert torch.equal(result.codes[m], outcomes[0][0].codes[m])
            torch.testing.assert_close(result.commitment[m], outcomes[0][0].commitment[m])
        for name, value in state.items():
            torch.testing.assert_close(value, outcomes[0][1][name])


@every_kind
def test_a_saved_state_continues_bit_for_bit(kind):
    batches = [batch(dtype=torch.float32) for _ in range(6)]
    torch.manual_seed(1)
    straight = KINDS[kind]()
    for step, features in enumerate(batches):
        if step == 3:
            saved, random = state_of(straight), torch.get_rng_state()
        straight(features)
    resumed = KINDS[kind]()
    resumed.load_state_dict(saved)
    torch.set_rng_state(random)
    for features in batches[3:]:
        resumed(features)
    assert_same_state(state_of(straight), state_of(resumed))


@every_kind
def test_autocast_does_not_reach_the_distances(kind):
    quantizer = KINDS[kind]()
    quantizer(batch(dtype=torch.float32))
    quantizer.eval()
    features = batch(dtype=torch.float32)
    plain = quantizer(features, with_logits=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = quantizer(features, with_logits=True)
    for m in NAMES:
        assert torch.equal(plain.codes[m], cast.codes[m]) and torch.equal(plain.quantized[m], cast.quantized[m])


def test_features_that_do_not_fit_are_refused_all_at_once():
    quantizer = VectorQuantizer(L, D)
    features = {
        "first": torch.zeros(2, 3, D),
        "second": torch.zeros(2, 3, D + 1),
        "third": torch.zeros(2, 4, D),
    }
    with pytest.raises(QuantizerError, match=r"'second'.*\(2, 3, 7\).*'third'.*\(2, 4, 6\).*mask 'first'.*int64"):
        quantizer(features, {"first": torch.ones(2, 3, dtype=torch.int64)})
    with pytest.raises(QuantizerError, match="no features"):
        quantizer({})


# ----------------------------------------------------------------------------------------------- one codebook


@pytest.mark.parametrize("with_logits", [True, False])
def test_each_feature_gets_its_nearest_code(with_logits):
    quantizer = VectorQuantizer(40, 16)
    features = batch(dim=16, clips=30, dtype=torch.float32)
    quantizer(features)
    codebook = quantizer.codebook.double().clone()
    result = quantizer(features, with_logits=with_logits)
    for m, z in features.items():
        distances = (z.double().unsqueeze(-2) - codebook).square().sum(-1)
        chosen = distances.gather(-1, result.codes[m])
        assert (chosen.squeeze(-1) <= distances.min(-1).values + 1e-5).all()
        assert torch.equal(result.quantized[m], codebook.float()[result.codes[m][..., 0]])


def test_nearest_lists_codes_by_distance():
    quantizer, x = warm(), torch.randn(3, 2, D, dtype=torch.float64)
    expected = (x.unsqueeze(-2) - quantizer.codebook).norm(dim=-1).sort(-1)
    distances, codes = quantizer.nearest(x, 4)
    torch.testing.assert_close(distances, expected.values[..., :4])
    assert torch.equal(codes, expected.indices[..., :4])
    distances, codes = quantizer.nearest(x, L + 2)
    assert (codes[..., L:] == -1).all() and distances[..., L:].isinf().all()


def test_blocks_find_the_same_codes(monkeypatch):
    quantizer, x = warm(), torch.randn(101, D, dtype=torch.float64)
    whole = quantizer.nearest(x, 3)
    monkeypatch.setattr(interface, "BLOCK", 4 * L)
    blocks = quantizer.nearest(x, 3)
    assert torch.equal(whole[1], blocks[1])
    torch.testing.assert_close(whole[0], blocks[0])


def test_nearest_codes_are_true_where_features_have_a_large_mean():
    """Mean 30, spread 0.1: |x|^2 - 2 x e + |e|^2 alone cancels, and half of the codes would be wrong."""
    rows, codebook = 30 + 0.1 * torch.randn(500, 64), 30 + 0.1 * torch.randn(40, 64)
    true = torch.cdist(rows.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist")
    distances, codes = interface.nearest_codes(rows, codebook)
    assert torch.equal(codes[:, 0], true.argmin(1))
    torch.testing.assert_close(distances[:, 0].double(), true.amin(1), rtol=1e-4, atol=1e-4)
    logits = interface.NegativeDistance.apply(rows, codebook)
    torch.testing.assert_close(-logits.double(), true, rtol=1e-4, atol=1e-4)


def test_the_gradient_passes_straight_through():
    quantizer = warm()
    features = {m: z.requires_grad_() for m, z in batch().items()}
    result = quantizer(features)
    upstream = {m: torch.randn_like(z) for m, z in features.items()}
    sum((result.quantized[m] * upstream[m]).sum() for m in NAMES).backward()
    for m in NAMES:
        assert torch.equal(features[m].grad, upstream[m])


def test_logits_are_minus_distances_with_gradient_after_the_update():
    quantizer = warm()
    codebook = quantizer.codebook.clone()
    features = {m: z.requires_grad_() for m, z in batch().items()}
    logits = quantizer(features, with_logits=True).logits
    assert not torch.equal(codebook, quantizer.codebook)
    weight = torch.randn(B, T, L, dtype=torch.float64)
    for m, z in features.items():
        expected = -(z.unsqueeze(-2) - codebook).norm(dim=-1)
        torch.testing.assert_close(logits[m], expected)
        grads = [torch.autograd.grad((weight * x).sum(), z, retain_graph=True)[0] for x in (logits[m], expected)]
        torch.testing.assert_close(*grads)


def test_a_feature_on_top_of_a_code_has_a_finite_gradient():
    quantizer = warm()
    z = quantizer.codebook[None, :4].clone().requires_grad_()
    quantizer({"only": z}, with_logits=True).logits["only"].sum().backward()
    assert z.grad.isfinite().all()


def plain_partner(features, masks, m, n, b, t, partner):
    """What modality n lends to the feature of m at clip b, step t; None if there is nothing."""
    if partner == "index":
        return features[n][b, t] if masks[n][b, t] else None
    keys = features[n][b][masks[n][b]]
    if not len(keys):
        return None
    return torch.softmax(keys @ features[m][b, t] / math.sqrt(D), 0) @ keys


@pytest.mark.parametrize("order", ["joint", "sequential"])
@pytest.mark.parametrize("partner", ["index", "attention"])
@pytest.mark.parametrize("masked", [True, False])
def test_mm_ema_by_hand(order, partner, masked):
    quantizer = warm(order=order, partner=partner, decay=0.9, epsilon=1e-3, revival="off")
    counts, sums, quantizer_rows = quantizer.counts.clone(), quantizer.sums.clone(), quantizer.codebook.clone()
    features = batch()
    masks = some_masks() if masked else {m: torch.ones(B, T, dtype=torch.bool) for m in NAMES}
    codes = quantizer(features, masks if masked else None).codes
    for group in [NAMES] if order == "joint" else [(m,) for m in NAMES]:
        new_counts, new_sums = torch.zeros_like(counts), torch.zeros_like(sums)
        for m, b, t in itertools.product(group, range(B), range(T)):
            if not masks[m][b, t]:
                continue
            lent = [plain_partner(features, masks, m, n, b, t, partner) for n in NAMES if n != m]
            lent = [x for x in lent if x is not None]
            z = features[m][b, t]
            new_counts[codes[m][b, t, 0]] += 1
            new_sums[codes[m][b, t, 0]] += 0.5 * z + 0.5 * sum(lent) / len(lent) if lent else z
        counts = 0.9 * counts + 0.1 * new_counts
        counts = (counts + 1e-3) / (counts.sum() + L * 1e-3) * counts.sum()
        unused = (new_counts == 0)[:, None]
        rows = torch.where(unused, quantizer_rows, (0.9 * sums + 0.1 * new_sums) / counts[:, None])
        sums, quantizer_rows = rows * counts[:, None], rows
    torch.testing.assert_close(quantizer.counts, counts)
    torch.testing.assert_close(quantizer.sums, sums)
    torch.testing.assert_close(quantizer.codebook, sums / counts[:, None])


@pytest.mark.parametrize("form", ["paper", "published"])
@pytest.mark.parametrize("masked", [True, False])
def test_commitment_by_hand(form, masked):
    quantizer = warm(commitment=form, beta=0.3).eval()
    features = {m: z.requires_grad_() for m, z in batch().items()}
    masks = some_masks() if masked else {m: torch.ones(B, T, dtype=torch.bool) for m in NAMES}
    result = quantizer(features, masks if masked else None)
    for m in NAMES:
        total = torch.zeros((), dtype=torch.float64)
        for b, t in masks[m].nonzero().tolist():
            z = features[m][b, t]
            gaps = [
                (z - result.quantized[n][b, t].detach()).square().mean() for n in NAMES if n != m and masks[n][b, t]
            ]
            own = (z - result.quantized[m][b, t].detach()).square().mean()
            if form == "paper":
                total = total + 0.3 * own + (0.15 * sum(gaps) / len(gaps) if gaps else 0)
            else:
                total = total + 0.6 * own + 0.15 * sum(gaps)
        expected = total / masks[m].sum()
        torch.testing.assert_close(result.commitment[m], expected)
        grads = [torch.autograd.grad(x, features[m], retain_graph=True)[0] for x in (result.commitment[m], expected)]
        torch.testing.assert_close(*grads)


def test_unused_codes_stay_where_they_are():
    """Laplace smoothing floors their counts while their sums decay: they would shrink to the origin."""
    for idle, stays in (("stay", True), ("shrink", False)):
        quantizer = warm(idle=idle, decay=0.8, revival="off")
        quantizer.codebook[0] = 8 / D**0.5 + 100
        quantizer.sums[0] = quantizer.codebook[0] * quantizer.counts[0]
        before = quantizer.codebook[0].clone()
        for _ in range(90):
            codes = quantizer(batch()).codes.values()
            assert not stays or not any((code == 0).any() for code in codes)
        assert torch.equal(quantizer.codebook[0], before) is stays
        assert stays or quantizer.codebook[0].norm() < 0.1 * before.norm()


def test_what_stands_at_padded_steps_reaches_no_loss_even_if_it_is_not_a_number():
    quantizer, masks = warm(), some_masks()
    features = {m: torch.where(masks[m][..., None], z, torch.nan).requires_grad_() for m, z in batch().items()}
    result = quantizer(features, masks)
    loss = sum(result.commitment.values())
    grads = torch.autograd.grad(loss, list(features.values()))
    assert loss.isfinite() and quantizer.codebook.isfinite().all()
    assert all(grad[masks[m]].isfinite().all() for m, grad in zip(features, grads, strict=True))


def test_the_joint_update_knows_no_order_of_modalities_and_the_sequential_one_does():
    features = batch()
    backwards = dict(reversed(features.items()))
    for order, equal in (("joint", True), ("sequential", False)):
        books = []
        for version in (features, backwards):
            torch.manual_seed(2)
            quantizer = warm(order=order, decay=0.5)
            quantizer(version)
            books.append(quantizer.codebook)
        assert torch.allclose(*books) == equal


def test_one_modality_is_the_ema_codebook_of_an_established_library():
    from vector_quantize_pytorch import VectorQuantize

    ours = VectorQuantizer(L, D, init="uniform", revival="off", decay=0.9, epsilon=1e-5)
    ours.codebook.normal_()
    ours.counts.uniform_(1, 5)
    ours.sums.copy_(ours.codebook * ours.counts[:, None])
    theirs = VectorQuantize(
        dim=D, codebook_size=L, decay=0.9, eps=1e-5, kmeans_init=False, threshold_ema_dead_code=0,
        rotation_trick=False, commitment_weight=0.25, learnable_codebook=False, sync_codebook=False,
    )  # fmt: skip
    book = theirs._codebook
    book.embed.data.copy_(ours.codebook[None])
    book.embed_avg.copy_(ours.sums[None])
    book.cluster_size.copy_(ours.counts[None])
    z = torch.randn(B, T, D)
    # the library smooths the counts only inside the division, we keep them smoothed (as published): one step
    # compares
    result = ours({"only": z})
    quantized, codes, loss = theirs(z)
    assert torch.equal(result.codes["only"][..., 0], codes)
    torch.testing.assert_close(result.quantized["only"], quantized)
    torch.testing.assert_close(result.commitment["only"], loss.squeeze())
    torch.testing.assert_close(ours.codebook, book.embed[0])
    torch.testing.assert_close(ours.sums, book.embed_avg[0])


# --------------------------------------------------------------------------------------- start and dead codes


def test_training_moves_the_codebook_towards_the_features():
    quantizer, errors = VectorQuantizer(L, D), []
    quantizer(batch(dtype=torch.float32))  # starts on other features than those below
    places = 5 * torch.randn(L - 2, D)[torch.randint(L - 2, (40, T))]  # modalities share what they say
    features = {m: places + 0.1 * z for m, z in batch(clips=40, dtype=torch.float32).items()}
    for _ in range(60):
        before = quantizer.codebook.clone()
        result = quantizer(features)
        errors.append(sum((result.quantized[m] - features[m]).square().mean() for m in NAMES))
        assert not torch.equal(before, quantizer.codebook)
    assert errors[-1] < 0.5 * errors[0]


def mixed(features):
    """What MM-EMA adds for each feature, written out: half itself, half the mean of the other modalities."""
    stack = torch.stack(list(features.values()))
    others = torch.stack([stack[[n for n in range(len(stack)) if n != m]].mean(0) for m in range(len(stack))])
    return (0.5 * stack + 0.5 * others).flatten(0, 2)


@pytest.mark.parametrize("init", ["samples", "kmeans", "uniform"])
def test_codebook_start(init):
    quantizer = VectorQuantizer(L, D, init=init, decay=0.0, revival="off")
    assert quantizer.codebook.abs().max() <= 1 / L and bool(quantizer.ready) == (init == "uniform")
    before = quantizer.codebook.clone()
    quantizer.eval()(batch(dtype=torch.float32))
    assert torch.equal(before, quantizer.codebook) and bool(quantizer.ready) == (init == "uniform")
    features = batch(dtype=torch.float32)
    started = quantizer.train()
    started._start(torch.stack(list(features.values())), None)
    rows = mixed(features)
    if init == "samples":
        assert torch.cdist(started.codebook, rows).min(1).values.max() < 1e-3
        assert len(started.codebook.unique(dim=0)) == L
    elif init == "uniform":
        assert torch.equal(before, started.codebook)
    else:  # k-means has a lower error than plain samples
        samples = rows[torch.randperm(len(rows))[:L]]
        assert (
            torch.cdist(rows, started.codebook).min(1).values.mean() < torch.cdist(rows, samples).min(1).values.mean()
        )
    assert started.ready


def test_kmeans_finds_separated_clusters():
    centres = 20 * torch.eye(D)[:4]
    rows = centres.repeat(25, 1)[None] + 0.1 * torch.randn(1, 100, D)
    hits = 0
    for seed in range(5):
        torch.manual_seed(seed)
        quantizer = VectorQuantizer(12, D, init="kmeans")
        quantizer._start(rows[None], None)
        hits += int(torch.cdist(centres, quantizer.codebook).min(1).values.max() < 1)
    assert hits == 5


def test_more_codes_than_features_is_no_problem():
    quantizer = VectorQuantizer(50, D)
    for _ in range(3):
        result = quantizer({"only": torch.randn(1, 7, D)})
    assert quantizer.codebook.isfinite().all() and result.codes["only"].max() < 50


def idle_code(revival):
    """A quantiser whose code 0 is out of everyone's reach and about to be revived."""
    quantizer = warm(revival=revival, revival_after=3, idle="shrink")
    quantizer.codebook[0] = 1e3
    quantizer.sums[0] = 1e3 * quantizer.counts[0]
    return quantizer


@pytest.mark.parametrize("revival, kept", [("reset", True), ("row", False), ("off", None)])
def test_a_revived_code_survives_the_next_update_where_its_state_is_reset(revival, kept):
    quantizer = idle_code(revival)
    features = batch()
    for step in range(3):
        assert quantizer.idle[0] == step and quantizer.codebook[0].norm() > 100
        quantizer(features)
    revived = quantizer.codebook[0].clone()
    if revival == "off":
        assert quantizer.idle[0] == 3 and revived.norm() > 100
        return
    assert quantizer.idle[0] == 0 and revived.norm() < 10
    if revival == "reset":  # it sits where MM-EMA would put a code for some feature of the batch
        assert (mixed(features) - revived).norm(dim=-1).min() < 1e-9
    far_away = {m: torch.full((1, 1, D), 50.0, dtype=torch.float64) for m in NAMES}
    quantizer(far_away)  # nobody uses the revived code in this step
    moved = (quantizer.codebook[0] - revived).norm() / revived.norm()
    assert (moved < 1e-3) == kept


def test_codes_in_use_are_never_revived():
    quantizer = VectorQuantizer(4, D, revival_after=1)
    features = {"only": torch.randn(1, 4, D) * 10}
    quantizer(features)
    assert (quantizer.idle == 0).all()
    quantizer.decay = 1.0  # freeze the codebook: any change would be a revival
    before = quantizer.codebook.clone()
    quantizer(features)
    torch.testing.assert_close(quantizer.codebook, before)


# ---------------------------------------------------------------------------------------- residual, FSQ, none


def test_residual_stages_quantise_what_is_left():
    quantizer = ResidualQuantizer(3, L, D)
    features = batch(clips=40, dtype=torch.float32)
    for _ in range(30):
        quantizer(features)
    quantizer.eval()
    result = quantizer(features, with_logits=True)
    for m, z in features.items():
        residual, errors = z, []
        for s, stage in enumerate(quantizer.stages):
            code = torch.cdist(residual, stage.codebook).argmin(-1)
            assert torch.equal(code, result.codes[m][..., s])
            residual = residual - stage.codebook[code]
            errors.append(residual.square().mean())
        assert errors[0] > errors[1] > errors[2]
        torch.testing.assert_close(result.quantized[m], z - residual)
        torch.testing.assert_close(
            result.logits[m], -torch.cdist(z, quantizer.stages[0].codebook), atol=1e-3, rtol=1e-3
        )
    assert quantizer.codebooks.shape == (3, L, D)


@pytest.mark.parametrize(("how", "weight"), [("sum", 1.0), ("mean", 0.5)])
def test_commitment_of_every_residual_stage_reaches_the_features(how, weight):
    quantizer = ResidualQuantizer(2, L, D, stage_commitment=how).double()
    quantizer(batch())
    quantizer.eval()
    z = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    result = quantizer({"only": z})
    (grad,) = torch.autograd.grad(result.commitment["only"], z, retain_graph=True)
    codes = result.codes["only"]
    first = quantizer.stages[0].decode(codes[..., :1])
    both = first + quantizer.stages[1].decode(codes[..., 1:])
    expected = weight * 2 * 0.25 * ((z - first) + (z - both)) / z.numel()
    torch.testing.assert_close(grad, expected.detach())
    (through,) = torch.autograd.grad(result.quantized["only"].sum(), z)
    assert torch.equal(through, torch.ones_like(z))


def test_the_zero_code_of_every_stage_stays_zero_while_others_move():
    quantizer = ResidualQuantizer(2, L, D, zero_code=True, init="samples", revival_after=2).double()
    for _ in range(5):
        before = quantizer.codebooks.clone()
        quantizer(batch())
        assert (quantizer.codebooks[:, 0] == 0).all() and not torch.equal(quantizer.codebooks, before)


@pytest.mark.parametrize("levels", [(2,), (3, 2), (8, 7, 7), (5, 4, 3), (1000, 2)])
def test_fsq_reaches_exactly_its_levels(levels):
    quantizer = FiniteScalarQuantizer(len(levels), levels, projection=False)
    wide = torch.linspace(-20, 20, 60001)[:, None].expand(-1, len(levels))
    codes = quantizer.encode(wide)
    for i, number in enumerate(levels):
        assert codes[:, i].unique().tolist() == list(range(number))
    assert quantizer.count == math.prod(levels) and quantizer.sizes == levels
    assert quantizer.decode(codes).abs().max() <= 1


def test_fsq_of_two_levels_has_its_border_at_zero_and_values_of_both_signs():
    quantizer = FiniteScalarQuantizer(1, (2,), projection=False)
    codes = quantizer.encode(torch.tensor([[-2.0], [-0.1], [0.1], [2.0]]))
    assert codes.ravel().tolist() == [0, 0, 1, 1] and quantizer.decode(codes).ravel().tolist() == [-1, -1, 1, 1]
    found = quantizer({"only": torch.tensor([[[-0.5], [0.5]]])})
    assert torch.equal(found.quantized["only"].ravel(), torch.tensor([-1.0, 1.0]))


def test_fsq_passes_the_gradient_of_the_bound():
    quantizer = FiniteScalarQuantizer(D, (5,), projection=False).double()
    z = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(quantizer({"only": z}).quantized["only"].sum(), z)
    torch.testing.assert_close(grad, 2.01 / 2 * (1 - z.tanh().square()).detach())


def test_fsq_projection_learns():
    quantizer = FiniteScalarQuantizer(D, (4, 3))
    result = quantizer(batch(dtype=torch.float32))
    sum(q.square().sum() for q in result.quantized.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in quantizer.parameters())
    assert all(value == 0 for value in result.commitment.values())


def test_fsq_nearest_and_logits_agree_with_rounding():
    quantizer = FiniteScalarQuantizer(D, (4, 3)).eval()
    features = batch(dtype=torch.float32)
    result = quantizer(features, with_logits=True)
    for m, z in features.items():
        joint = result.codes[m][..., 0] * 3 + result.codes[m][..., 1]
        distances, codes = quantizer.nearest(z, 2)
        assert torch.equal(codes[..., 0], joint) and torch.equal(result.logits[m].argmax(-1), joint)
        torch.testing.assert_close(-result.logits[m].max(-1).values, distances[..., 0], atol=1e-4, rtol=1e-4)
        assert (distances[..., 1] >= distances[..., 0]).all() and result.logits[m].shape[-1] == 12


def test_fsq_too_large_to_enumerate_has_no_logits():
    quantizer = FiniteScalarQuantizer(D, (8, 9), projection=False)
    assert quantizer.levels == (8, 9) * 3 and quantizer.count == 72**3 > scalar_quantizer.ENUMERABLE
    assert quantizer(batch(dtype=torch.float32), with_logits=True).logits is None
    distances, codes = quantizer.nearest(torch.randn(2, D), 2)
    assert (codes == -1).all() and distances[:, 0].isfinite().all() and distances[:, 1].isinf().all()


@pytest.mark.parametrize("size", [1, 4, 5, 64, 400, 512, 1000, 65536])
def test_fsq_levels_come_near_the_size(size):
    levels = fsq_levels(size)
    assert all(level >= 2 for level in levels)
    if size > 8:
        assert abs(math.log(math.prod(levels) / size)) < 0.1


def test_fsq_levels_below_two_are_refused():
    with pytest.raises(QuantizerError, match=r"\(5, 1\).*at least 2"):
        FiniteScalarQuantizer(D, (5, 1))


def test_identity_passes_features_through():
    features = {m: z.requires_grad_() for m, z in batch(dtype=torch.float32).items()}
    result = IdentityQuantizer(D)(features, with_logits=True)
    assert result.logits is None and result.sizes == ()
    for m, z in features.items():
        assert torch.equal(result.quantized[m], z)
        assert torch.equal(torch.autograd.grad(result.quantized[m].sum(), z)[0], torch.ones_like(z))
    with pytest.raises(QuantizerError, match="read its features"):
        IdentityQuantizer(D).decode(result.codes["first"])


# --------------------------------------------------------------------------------------- metric and assignment


def test_of_a_cosine_codebook_only_directions_count():
    quantizer = VectorQuantizer(L, D, metric="cosine", revival_after=2).double()
    for _ in range(4):
        quantizer(batch())
        lengths = quantizer.codebook.norm(dim=-1)
        assert torch.allclose(lengths, torch.full_like(lengths, math.sqrt(D)))
    features = {m: z.requires_grad_() for m, z in batch().items()}
    quantizer.eval()
    result, longer = quantizer(features), quantizer({m: 7 * z for m, z in features.items()})
    best = {m: torch.cosine_similarity(z[..., None, :], quantizer.codebook, dim=-1).argmax(-1) for m, z in
            features.items()}  # fmt: skip
    for m, z in features.items():
        assert torch.equal(result.codes[m][..., 0], best[m]) and torch.equal(longer.codes[m], result.codes[m])
        assert torch.equal(result.quantized[m], quantizer.codebook[best[m]])
        (result.commitment[m] + longer.commitment[m]).backward(retain_graph=True)
        radial = (z.grad * z).sum(-1)  # what lengthens a feature changes nothing
        assert torch.allclose(radial, torch.zeros_like(radial), atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_jointly_assigned_modalities_share_the_code_nearest_to_all_that_are_there(masked):
    quantizer, features, masks = warm(assignment="joint"), batch(), some_masks() if masked else None
    book = quantizer.codebook.clone()
    result = quantizer(features, masks)
    for clip, step in itertools.product(range(B), range(T)):
        there = [m for m in NAMES if not masked or masks[m][clip, step]]
        cost = sum(((features[m][clip, step] - book) ** 2).sum(-1) for m in there)
        for m in NAMES:
            want = int(cost.argmin()) if m in there else -1
            assert int(result.codes[m][clip, step]) == want
            assert torch.equal(result.quantized[m][clip, step], book[want] if want >= 0 else torch.zeros(D).double())
    quantizer.eval()
    alone = quantizer(features, masks)  # what is encoded is encoded without the other modalities
    single = quantizer({"first": features["first"]}, masks and {"first": masks["first"]})
    assert torch.equal(alone.codes["first"], single.codes["first"])


@pytest.mark.parametrize("masked", [False, True])
def test_transport_uses_all_codes_alike_and_otherwise_the_near_ones(masked):
    near, spread = warm(), warm(assignment="transport")
    centre = near.codebook[0].clone()  # most features lie near one code
    features = {m: centre + 0.3 * torch.randn(40, 8, D).double() for m in NAMES}
    masks = {m: torch.rand(40, 8) < 0.6 for m in NAMES} if masked else None
    book = spread.codebook.copy_(near.codebook).clone()
    uses = {}
    for name, quantizer in (("near", near), ("spread", spread)):
        codes = torch.stack([*quantizer(features, masks).codes.values()])[..., 0]
        uses[name] = torch.bincount(codes[codes >= 0], minlength=L).double()
    assert uses["near"].max() > 0.9 * uses["near"].sum()
    assert uses["spread"].min() > 0.3 * uses["spread"].mean() and uses["spread"].max() < 2 * uses["spread"].mean()
    rows = book + 0.01 * torch.randn(L, D).double()  # features that lie alike on all codes keep theirs
    kept = assign("transport", rows.view(1, L, 1, D), book)
    assert kept.flatten().tolist() == list(range(L))
    some = torch.rand(3, 40, 8) < 0.5
    z = torch.stack([*features.values()])
    there = assign("transport", z, book, some)[some]
    assert torch.equal(there, assign("transport", z[some].view(1, -1, 1, D), book).flatten())  # others take no part


def test_what_others_do_not_have_is_refused_by_name():
    for options, said in (
        (dict(quantizer="fsq", assignment="joint"), "assignment=joint: no option of quantizer=fsq"),
        (dict(quantizer="rvq", codebook_metric="cosine"), "codebook_metric=cosine: no option of quantizer=rvq"),
        (dict(preset="demo+turn", assignment="transport"), "no options of method=turn"),
    ):
        with pytest.raises(ParameterError, match=said):
            resolve(options.pop("preset", "demo"), **options)


# ------------------------------------------------------------------------------------------- parameters reach

CHANGES = dict(
    quantizer="identity", codebook_size=7, stages=3, fsq_levels=(3, 3), fsq_projection=False, decay=0.5,
    ema_epsilon=0.1, ema_order="sequential", ema_idle="shrink", ema_partner="attention",
    codebook_init="kmeans", revival="off", revival_after=2, beta=1.0, commitment="published", stage_commitment="sum",
    zero_code=True, ema_repeats=3, codebook_metric="cosine", assignment="joint",
)  # fmt: skip
KIND_OF = dict(stages="rvq", stage_commitment="rvq", zero_code="rvq", fsq_levels="fsq", fsq_projection="fsq")


def trained(params):
    torch.manual_seed(5)
    quantizer = make_quantizer(params, D).double()
    draw = torch.Generator().manual_seed(6)
    for _ in range(4):
        result = quantizer({m: torch.randn(B, T, D, generator=draw).double() for m in NAMES})
    return [
        *result.quantized.values(),
        *result.codes.values(),
        *result.commitment.values(),
        *state_of(quantizer).values(),
    ]


def test_every_option_is_tried():
    assert set(CHANGES) == set(QuantizerParams.model_fields)


@pytest.mark.parametrize("name", CHANGES)
def test_every_option_reaches_the_quantiser(name):
    kind = {"quantizer": KIND_OF[name]} if name in KIND_OF else {}
    if name == "ema_idle":
        kind = {"revival": "off"}
    base = QuantizerParams(codebook_size=40, **{"revival_after": 1, **kind})
    left, right = trained(base), trained(base.model_copy(update={name: CHANGES[name]}))
    assert len(left) != len(right) or any(
        a.shape != b.shape or not torch.equal(a, b) for a, b in zip(left, right, strict=True)
    )


# --------------------------------------------------------------------------------------------- pure functions


def test_perplexity():
    assert perplexity(torch.tensor([0, 1, 2, 3]), 8) == pytest.approx(4)
    assert perplexity(torch.tensor([[5, 5], [5, -1]]), 8) == pytest.approx(1)
    assert perplexity(torch.tensor([0, 0, 0, 1]), 2) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )
    assert perplexity(torch.tensor([], dtype=torch.int64), 8) == 0


def test_agreement():
    left = torch.tensor([[[1, 2], [3, 4], [5, 6], [-1, -1]]])
    right = torch.tensor([[[1, 2], [3, 0], [5, 6], [-1, -1]]])
    assert agreement(left, right) == pytest.approx(2 / 3)
    assert agreement(left, right, torch.tensor([[False, True, True, True]])) == pytest.approx(1 / 2)
    assert agreement(left[:0], right[:0]) == 0


# ------------------------------------------------------------------------------------ nothing waits for a GPU


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("vq", {}), ("rvq", {}), ("codaar", {}), ("vq", {"codebook_metric": "cosine"}), ("vq", {"assignment": "joint"}),
        ("rvq", {"assignment": "transport"}),
    ],
)  # fmt: skip
def test_a_training_step_of_a_codebook_reads_no_value(kind, options, masked):
    """On the meta device tensors have no values: whatever would have to wait for a GPU raises there."""
    params = QuantizerParams(quantizer=kind, codebook_size=L, revival_after=100, **options)
    quantizer = make_quantizer(params, D, ("first", "second"))
    features = {m: torch.randn(5, T, D) for m in ("first", "second")}
    for _ in range(2):  # starts the codebook, and sees that it is started
        quantizer(features)
    valid = torch.ones(2, 5, T, dtype=torch.bool, device="meta") if masked else None
    quantizer.to("meta")
    for _ in range(3):
        quantizer._quantize(torch.stack(list(features.values())).to("meta"), valid, with_logits=True)


@pytest.mark.parametrize("kind", ["vq", "codaar"])
def test_idle_codes_are_looked_for_when_one_can_be_due(kind):
    """Seldom looking finds what looking in every step finds: a code restarts in the very step that it is due."""
    params = QuantizerParams(quantizer=kind, codebook_size=L, revival_after=4)
    torch.manual_seed(0)
    seldom = make_quantizer(params, D, ("first", "second")).double()
    always = copy.deepcopy(seldom)
    for step, features in enumerate(joint_batches(2, 30)):
        for quantizer in (seldom, always):
            torch.manual_seed(step)
            quantizer(features)
        assert_same_state(seldom.state_dict(), always.state_dict())
        always.load_state_dict(always.state_dict())  # makes it look at once
    assert (seldom.idle < 4).all() and seldom.idle.any()


def joint_batches(clips, count):
    draw = torch.Generator().manual_seed(11)
    return [
        {m: 3 * torch.randn(clips, T, D, generator=draw, dtype=torch.float64) for m in ("first", "second")}
        for _ in range(count)
    ]
