"""Code matching and CPC: known values, explicit sums, masks, and that minimising them aligns modalities."""

import itertools
import math

import pytest
import torch

from srcid.model.alignment import CrossModalCPC, code_matching_loss

NAMES = ("first", "second", "third")
B, T, L, D = 5, 4, 7, 6


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def draw(width, names=NAMES):
    return {m: 2 * torch.randn(B, T, width, dtype=torch.float64) for m in names}


def some_masks():
    masks = {m: torch.rand(B, T) < 0.7 for m in NAMES}
    masks["third"][0] = False
    masks["first"][1:, 0] = True
    return masks


def whole():
    return {m: torch.ones(B, T, dtype=torch.bool) for m in NAMES}


# ---------------------------------------------------------------------------------------------- code matching


def explicit_matching(logits, masks):
    total = 0.0
    for m, n in itertools.combinations(logits, 2):
        clips = [b for b in range(B) if masks[m][b].any() and masks[n][b].any()]
        p, q = ({b: logits[name][b][masks[name][b]].softmax(-1).mean(0) for b in clips} for name in (m, n))
        s = torch.stack([torch.stack([(p[i] * q[j].log() + q[j] * p[i].log()).sum() for j in clips]) for i in clips])
        rows = -(s.diagonal() - s.logsumexp(1)).mean()
        columns = -(s.diagonal() - s.logsumexp(0)).mean()
        total = total + (rows + columns) / 2
    return total


@pytest.mark.parametrize("masked", [False, True])
def test_matching_by_hand(masked):
    logits = {m: z.requires_grad_() for m, z in draw(L).items()}
    masks = some_masks() if masked else whole()
    found = code_matching_loss(logits, masks if masked else None)
    expected = explicit_matching(logits, masks)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for z in logits.values():
        pair = [torch.autograd.grad(value, z, retain_graph=True)[0] for value in (found, expected)]
        torch.testing.assert_close(*pair, rtol=0, atol=1e-10)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_uniform_codes_give_log_b_a_pair(count):
    logits = {f"m{i}": torch.zeros(B, T, L, dtype=torch.float64) for i in range(count)}
    pairs = math.comb(count, 2)
    torch.testing.assert_close(float(code_matching_loss(logits)), pairs * math.log(B))
    published = float(code_matching_loss(logits, form="published"))
    torch.testing.assert_close(published, 0.5 * pairs * math.log(B), rtol=0, atol=1e-5)


def test_matching_does_not_depend_on_the_order_of_modalities():
    logits = draw(L)
    torch.testing.assert_close(code_matching_loss(logits), code_matching_loss(dict(reversed(logits.items()))))


@pytest.mark.parametrize("form", ["paper", "published"])
def test_masks_that_hide_nothing_change_nothing(form):
    logits = draw(L)
    plain = code_matching_loss(logits, form=form)
    torch.testing.assert_close(code_matching_loss(logits, whole(), form), plain)
    torch.testing.assert_close(code_matching_loss(logits, {"second": whole()["second"]}, form), plain)


@pytest.mark.parametrize("form", ["paper", "published"])
def test_matching_is_finite_where_probabilities_vanish(form):
    logits = {m: torch.full((B, T, L), -1e4) for m in NAMES[:2]}
    for b in range(B):
        for i, scores in enumerate(logits.values()):
            scores[b, :, (b + i) % L] = 0  # every clip is certain, and the modalities never agree
    logits = {m: z.requires_grad_() for m, z in logits.items()}
    loss = code_matching_loss(logits, form=form)
    loss.backward()
    assert loss.isfinite() and all(z.grad.isfinite().all() for z in logits.values())


def test_matching_without_any_shared_clip_is_zero():
    masks = whole()
    masks["first"][:] = False
    logits = {m: z.requires_grad_() for m, z in draw(L, NAMES[:2]).items()}
    for form in ("paper", "published"):
        loss = code_matching_loss(logits, masks, form)
        assert loss == 0
        loss.backward()


def test_minimising_the_matching_loss_aligns_clips():
    logits = {m: z.requires_grad_() for m, z in draw(L).items()}
    optimizer = torch.optim.Adam(list(logits.values()), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = code_matching_loss(logits)
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * 3 * math.log(B)


# -------------------------------------------------------------------------------------------------------- CPC


def explicit_cpc(cpc, features, step, masks):
    total = 0.0
    for m, n in itertools.product(NAMES, NAMES):
        context = cpc.context[m](features[m][:, : step + 1])[0][:, step]
        predicted = cpc.predictor[m](context).view(B, cpc.horizon, D)
        pair = 0.0
        for r in range(1, cpc.horizon + 1):
            clips = [b for b in range(B) if masks[m][b, step] and masks[n][b, step + r]]
            terms = []
            for i in clips:
                if cpc.negatives == "targets":
                    scores = torch.stack([predicted[i, r - 1] @ features[n][j, step + r] for j in clips])
                else:
                    scores = torch.stack([predicted[j, r - 1] @ features[n][i, step + r] for j in clips])
                terms.append(scores.logsumexp(0) - scores[clips.index(i)])
            pair = pair + (sum(terms) / len(terms) if terms else 0.0)
        total = total + (cpc.same_weight if m == n else 1.0) * pair / cpc.horizon
    return total


@pytest.mark.parametrize("negatives", ["targets", "predictions"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("horizon, step", [(1, 2), (2, 1)])
@pytest.mark.parametrize("same_weight", [0.0, 0.1])
def test_cpc_by_hand(negatives, masked, horizon, step, same_weight):
    cpc = CrossModalCPC(NAMES, D, horizon, 2, same_weight, negatives).double()
    features = {m: z.requires_grad_() for m, z in draw(D).items()}
    masks = some_masks() if masked else whole()
    found = cpc(features, step, masks if masked else None)
    expected = explicit_cpc(cpc, features, step, masks)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for z in features.values():
        pair = [torch.autograd.grad(value, z, retain_graph=True)[0] for value in (found, expected)]
        torch.testing.assert_close(*pair, rtol=0, atol=1e-10)


def test_cpc_of_equal_clips_is_log_b_a_pair():
    cpc = CrossModalCPC(NAMES, D)
    features = {m: torch.randn(1, T, D).expand(B, -1, -1) for m in NAMES}
    torch.testing.assert_close(cpc(features).item(), 6 * math.log(B), rtol=0, atol=1e-5)


def test_cpc_sees_no_step_after_the_target():
    cpc, features = CrossModalCPC(NAMES, D).double(), draw(D)
    later = {m: torch.cat([z[:, :3], torch.randn(B, 1, D).double()], 1) for m, z in features.items()}
    assert torch.equal(cpc(features, 1), cpc(later, 1))
    assert not torch.equal(cpc(features, 2), cpc(later, 2))


def test_cpc_learns_a_shared_future():
    shared = torch.randn(16, T, D)
    features = {m: shared + 0.1 * torch.randn(16, T, D) for m in NAMES}
    features = {m: torch.cat([z[:, :2], z[:, :1] + z[:, 1:2], z[:, 3:]], 1) for m, z in features.items()}
    cpc = CrossModalCPC(NAMES, D)
    optimizer = torch.optim.Adam(cpc.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = cpc(features, 1)
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * 6 * math.log(16)


def test_the_step_is_drawn_where_there_is_room():
    for steps, horizon, expected in (
        (10, 1, set(range(1, 9))),
        (10, 3, set(range(1, 7))),
        (2, 1, {0}),
        (3, 1, {1}),
    ):
        cpc = CrossModalCPC(NAMES, D, horizon)
        assert {cpc.draw_step(steps) for _ in range(200)} == expected


def test_the_drawn_step_follows_the_seed():
    cpc = CrossModalCPC(NAMES, D).double()
    features = {m: torch.randn(B, 30, D, dtype=torch.float64) for m in NAMES}
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(cpc(features).item())
    assert losses[0] == losses[1] != losses[2]


def test_clips_too_short_for_the_horizon_are_refused():
    cpc = CrossModalCPC(NAMES, D, horizon=4).double()
    with pytest.raises(ValueError, match="found clips of 4 steps, need at least 5"):
        cpc(draw(D))
    with pytest.raises(ValueError, match="found step=3 in clips of 4 steps, need 0 to 2"):
        CrossModalCPC(NAMES, D).double()(draw(D), step=3)


def test_an_empty_batch_works():
    cpc = CrossModalCPC(NAMES, D)
    features = {m: torch.zeros(0, T, D, requires_grad=True) for m in NAMES}
    loss = cpc(features)
    loss.backward()
    assert loss == 0
