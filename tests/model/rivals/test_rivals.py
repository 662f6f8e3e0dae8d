"""What defines each rival, and that all of them come through the door that SRCID comes through."""

import threading

import numpy as np
import pytest
import torch

from srcid.codes import encode
from srcid.evaluation.probes import fit_probes
from srcid.model.assignment import transport_plan
from srcid.model.network import SRCID
from srcid.model.rivals.codaar import OWN, RowQuantizer
from srcid.model.rivals.turn import GroupQuantizer
from srcid.params import ParameterError, resolve
from srcid.training.loop import load, train
from tests.helpers import TINY, tiny_store

RIVALS = ("turn", "codis", "codaar")


def rival(name, **changes):
    return resolve(f"demo+{name}", **{**TINY, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    masks = {"third": np.ones((40, 6), bool)}
    masks["third"][::3, -2:] = False
    masks["third"][5] = False  # a clip without this modality
    return tiny_store(tmp_path_factory.mktemp("rivals") / "store", masks=masks)


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_trains_resumes_bit_for_bit_and_ends_in_a_code_table(store, tmp_path, name):
    params = rival(name, epochs=4)
    train(store, params, tmp_path / "whole")
    stop, seen = threading.Event(), []

    def interrupt(line):
        seen.append(line)
        if line["step"] >= 4:
            stop.set()

    assert train(store, params, tmp_path / "cut", on_metrics=interrupt, stop=stop).status == "stopped"
    assert train(store, params, tmp_path / "cut").status == "finished"
    whole, cut = load(tmp_path / "whole").state_dict(), load(tmp_path / "cut").state_dict()
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)

    table = encode(load(tmp_path / "whole"), store, tmp_path / "codes")
    width = table.codebook(1).shape[-1]
    assert width == params.dim * (3 if name == "codaar" else 1)
    for m in table.modalities:
        code = table.codes(1, m)
        assert ((code >= 0) == table.masks[m][..., None]).all()
        assert table.quantized(1, m).shape == (40, 6, width)
    scores = fit_probes(table, params, tasks=("classification",), representations=("all",))
    assert len(scores.scores) > 0


@pytest.mark.parametrize("name", RIVALS)
def test_evaluation_changes_nothing(store, name):
    torch.manual_seed(0)
    network = SRCID(store.shapes, rival(name))
    batch = {m: torch.from_numpy(x) for m, x in store.batch(store.splits["train"]).items()}
    network.train()(batch)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.eval()(batch)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_gradient_moves_the_codebook_of_turn_and_no_average_does():
    torch.manual_seed(0)
    quantizer = GroupQuantizer(2, 8, 6, beta=0.25).train()
    z = {"a": torch.randn(5, 4, 6, requires_grad=True), "b": torch.randn(5, 4, 6, requires_grad=True)}
    before = quantizer.codes.detach().clone()
    found = quantizer(z)
    assert torch.equal(quantizer.codes, before)
    sum(found.commitment.values()).backward()
    used = torch.zeros(2, 4, dtype=torch.bool)
    for g in range(2):
        for codes in found.codes.values():
            used[g, codes[..., g].flatten()] = True
    assert torch.equal(quantizer.codes.grad.abs().sum(-1) > 0, used)
    # L_code, term by term: the codebook's is 1 / (number of features), the features' is beta times that
    a, values = z["a"].detach(), found.quantized["a"].detach()
    assert found.commitment["a"].item() == pytest.approx(1.25 * float((a - values).square().mean()), rel=1e-5)
    torch.testing.assert_close(z["a"].grad, 0.25 * 2 * (a - values) / a.numel())
    # each group's code is the nearest in its part of the width, and the books add up to the value
    for g in range(2):
        part = a[..., 3 * g : 3 * g + 3]
        nearest = (part[..., None, :] - quantizer.codes[g]).square().sum(-1).argmin(-1)
        assert torch.equal(found.codes["a"][..., g], nearest)
    books = quantizer.codebooks
    summed = sum(books[g][found.codes["a"][..., g]] for g in range(2))
    torch.testing.assert_close(summed, values)
    torch.testing.assert_close(quantizer.decode(found.codes["a"]).detach(), values)


def test_codes_of_turn_can_name_the_clip(store):
    torch.manual_seed(0)
    network = SRCID(store.shapes, rival("turn", turn_level="clip")).eval()
    batch = {m: torch.from_numpy(x) for m, x in store.batch(np.arange(10)).items()}
    codes = network(batch)[0].quantized.codes
    assert all((code == code[:, :1]).all() for code in codes.values())


def test_the_transport_plan_has_the_marginals_it_promises_and_no_gradient(store):
    scores = torch.randn(30, 7, dtype=torch.float64).tanh().requires_grad_()
    plan = transport_plan(scores.detach(), 0.05, 500)
    torch.testing.assert_close(plan.sum(1), torch.full((30,), 1 / 30, dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(plan.sum(0), torch.full((7,), 1 / 7, dtype=torch.float64), rtol=1e-3, atol=0)
    near = scores.argmax(1)
    assert (plan.argmax(1) == near).double().mean() > 0.3  # cheap pairs are preferred as far as the marginals let

    torch.manual_seed(0)
    layer = SRCID(store.shapes, rival("codis")).train().layers[0]
    clips = torch.randn(6, layer.params.dim, requires_grad=True)
    assert not layer._plan(0, clips, None).requires_grad
    there = torch.tensor([True, True, False, True, True, True])
    found = layer._plan(0, clips, there)
    torch.testing.assert_close(found.sum(1), there.float())


def test_twins_follow_slowly_and_are_not_trained(store):
    torch.manual_seed(0)
    network = SRCID(store.shapes, rival("codis", codis_momentum=0.9)).train()
    layer = network.layers[0]
    trained = {id(p) for p in network.main_parameters()}
    assert not any(id(p) in trained for p in layer.twins.parameters())
    with torch.no_grad():
        for p in layer.general.parameters():
            p.add_(1.0)
    before = [p.clone() for p in layer.twins.parameters()]
    layer._follow()
    for old, new in zip(before, layer.twins.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1)


def test_rows_of_codaar_share_the_index_and_move_by_their_own_counts():
    torch.manual_seed(0)
    names, size, dim = ("a", "b", "c"), 5, 3
    quantizer = RowQuantizer(names, size, dim, decay=0.9, revival="off").double().train()
    z = {m: torch.randn(8, 4, dim, dtype=torch.float64, requires_grad=True) for m in names}
    quantizer(z)  # starts the codebook
    books = {m: part.codebook.clone() for m, part in quantizer.rows.items()}
    state = {m: (part.counts.clone(), part.sums.clone()) for m, part in quantizer.rows.items()}
    row = torch.cat([books[m] for m in names], -1)
    found = quantizer(z)
    for m in names:
        nearest = torch.cdist(z[m].detach(), books[m][None].expand(8, -1, -1)).argmin(-1)
        assert torch.equal(found.codes[m][..., 0], nearest)  # by the own part
        torch.testing.assert_close(found.quantized[m], row[nearest])  # the whole row is read out
    # the update of one part by hand: own features 0.6, each of the two others 0.2, under the own assignment
    m, codes = "b", found.codes["b"][..., 0]
    mixed = OWN * z["b"] + 0.2 * (z["a"] + z["c"])
    hot = torch.nn.functional.one_hot(codes, size).to(mixed)
    counts, sums = state[m]
    counts, sums = 0.9 * counts + 0.1 * hot.sum((0, 1)), 0.9 * sums + 0.1 * torch.einsum("btl,btd->ld", hot, mixed)
    used = hot.sum((0, 1)) > 0
    moved = torch.where(used[:, None], sums / counts[:, None], books[m])
    smoothed = quantizer.rows[m].sums / quantizer.rows[m].counts[:, None]
    torch.testing.assert_close(smoothed, moved.detach(), rtol=1e-3, atol=1e-3)  # Laplace smoothing of the counts
    # averaged in turn: parts lie closer to each other than before
    spread = torch.stack([part.codebook for part in quantizer.rows.values()]).std(0).mean()
    raw = torch.stack([part.sums / part.counts[:, None] for part in quantizer.rows.values()]).std(0).mean()
    assert spread < 0.5 * raw


def test_the_gradient_of_a_row_reaches_the_own_part_alone():
    quantizer = RowQuantizer(("a", "b"), 4, 2).eval()
    z = {m: torch.randn(3, 2, 2, requires_grad=True) for m in ("a", "b")}
    weight = torch.arange(4.0)
    (quantizer(z).quantized["b"] * weight).sum().backward()
    assert torch.equal(z["b"].grad, weight[2:].expand(3, 2, 2)) and not z["a"].grad.any()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (dict(cpc_weight=1.0), "cpc_weight=1.0"),
        (dict(quantizer="fsq"), "quantizer=fsq"),
        (dict(layers=2), "layers=2"),
        (dict(codis_queue=7), "codis_queue"),
        (dict(turn_groups=3), "turn_groups=3"),
    ],
)
def test_what_a_rival_does_not_have_is_refused_by_name(options, named):
    with pytest.raises(ParameterError) as caught:
        resolve("demo+turn", **options)
    assert any(named in problem for problem in caught.value.problems)


def test_options_of_rivals_are_refused_without_them():
    with pytest.raises(ParameterError, match="turn_groups"):
        resolve("demo", turn_groups=4)
