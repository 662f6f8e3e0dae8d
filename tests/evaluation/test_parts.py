"""What later parts of a code are good for: as shared codes, or by where their vectors lie."""

import numpy as np
import pandas as pd
import pytest

from srcid.evaluation.claims import PARTS, part_claims, probe_parts
from srcid.evaluation.comparison import methods_of, score_matrix
from srcid.evaluation.inputs import read_inputs
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.representation import Representation
from srcid.params import EvaluationParams
from tests.evaluation.fake import make_table

QUICK = EvaluationParams(probe_seeds=1, probe_epochs=40, probe_lr=1e-2, probe_batch=40)


def second_stage(shared: bool, noise: float = 0.05):
    """The first stage says nothing, the second the class: by the same code, or by another of nearly the same vector."""
    table = make_table(stages=2)
    classes = table.events.shape[-1] + 1
    table.books = [np.concatenate([book, book], axis=1) for book in table.books[:1]]  # twice as many codes
    table.books[0] += noise * np.random.default_rng(1).normal(size=table.books[0].shape).astype(np.float32)
    for place, m in enumerate(table.modalities):
        truth = table.symbols[1, m][..., 0]
        codes = truth if shared else truth + classes * place
        table.symbols[1, m] = np.stack([np.zeros_like(truth), codes], axis=-1)
    table.layers = 1
    return table


def test_the_first_part_alone_is_the_first_stage_of_layer_1():
    table = make_table(stages=3)
    table.masks["audio"][0, 2:] = False
    rows = np.array([0, 7])
    found = Representation.named("stage1", 2)
    assert found.layers == (1,)
    expected = table.books[0][0][table.symbols[1, "audio"][rows, :, 0]] * table.masks["audio"][rows][..., None]
    assert np.array_equal(found.vectors(table, 1, "audio", rows), expected)


@pytest.mark.parametrize("stages", [1, 3])
def test_exchanged_vectors_stay_in_their_part_and_are_the_same_in_all_modalities(stages):
    table = make_table(stages=stages)
    found = Representation.named("exchanged", 2)
    for layer in (1, 2):
        before, after = table.books[layer - 1], found.codebook(table, layer)
        for stage in range(stages):
            same = np.array_equal(before[stage], after[stage])
            assert same == ((layer, stage) == (1, 0))
            assert np.array_equal(np.sort(before[stage], axis=0), np.sort(after[stage], axis=0))
        for m in table.modalities:
            codes = table.codes(layer, m)
            expected = sum(after[s][codes[..., s]] for s in range(stages))
            assert np.array_equal(found.vectors(table, layer, m, np.arange(table.clips)), expected)


def test_unused_vectors_are_not_exchanged_for_used_ones():
    table = second_stage(shared=True)
    table.books[0][1, 5:] = np.nan  # nobody uses these codes
    assert np.isfinite(Representation.named("exchanged", 1).vectors(table, 1, "audio", np.arange(9))).all()


@pytest.mark.parametrize("name", ["stage1", "exchanged"])
def test_fetched_and_gathered_vectors_are_the_same(name):
    table = make_table(stages=2)
    rows, which = np.arange(40), np.array([0, 1])
    import torch

    weight = torch.randn(2, 8 if name == "stage1" else 16, 3, generator=torch.Generator().manual_seed(0))
    values = []
    for lookup in (True, False):
        inputs = read_inputs(table, Representation.named(name, 2), rows, rows, 10, lookup)
        clips = torch.arange(10).expand(2, -1)
        values.append(inputs.linear(inputs.project(weight), torch.from_numpy(which), clips))
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("shared", [True, False])
def test_what_lies_close_helps_other_modalities_until_vectors_are_exchanged(shared):
    results = fit_probes(second_stage(shared), QUICK, ("classification",), ("all", "exchanged", "stage1"))
    mean = results.frame().groupby(["representation", "same"])["score"].mean()
    chance = results.chance["classification"]["accuracy"]
    assert mean["all", True] > 90 and mean["all", False] > 90
    assert mean["stage1", True] < chance + 15
    assert mean["exchanged", True] > 75
    assert (mean["exchanged", False] > 75) == shared
    assert shared or mean["exchanged", False] < 60


def test_a_code_of_one_part_has_none_to_tell_apart():
    table = make_table()
    results = fit_probes(table, QUICK, ("classification",), ("stage1",))
    assert not results.scores and any("single part" in note for note in results.notes)


def test_runs_are_probed_again_with_their_own_settings(code_tables):
    kinds = ("vq", "rvq", "identity")
    settings = QUICK.model_copy(update={"probe_epochs": 2}).model_dump()
    params = pd.DataFrame({kind: settings for kind in kinds}).T
    directions = pd.concat(
        fit_probes(code_tables[kind], QUICK.model_copy(update={"probe_epochs": 2}))
        .frame()
        .assign(run=kind, method=f"srcid {kind}", seed=0, data="tiny")
        for kind in kinds
    )
    seen = []
    found = probe_parts({kind: code_tables[kind] for kind in kinds}, directions, params, seen.append)
    assert seen == list(kinds)
    names = found.groupby("run", sort=False)["representation"].unique().map(set).to_dict()
    plain = {"all", "only1", "continuous"}
    assert names == {"vq": plain | {"exchanged"}, "rvq": plain | {"exchanged", "stage1"}, "identity": plain}
    again = found[found["representation"] == "all"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, directions[directions["representation"] == "all"].reset_index(drop=True))
    methods = methods_of(score_matrix(found, PARTS))
    claims = part_claims(methods, [f"srcid {kind}" for kind in kinds])
    assert [(c.method, c.reference) for c in claims] == [
        ("srcid vq", "srcid vq (only1)"),
        ("srcid vq (exchanged)", "srcid vq (only1)"),
        ("srcid vq", "srcid vq (exchanged)"),
        ("srcid rvq", "srcid rvq (stage1)"),
        ("srcid rvq (exchanged)", "srcid rvq (stage1)"),
        ("srcid rvq", "srcid rvq (exchanged)"),
    ]
