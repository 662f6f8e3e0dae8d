"""Stores that hold some of a model's modalities: encoded as they would be beside the others, or refused by name."""

import numpy as np
import pytest
import torch

from srcid.codes import CodeTableError, encode, encode_once
from srcid.evaluation.joined import Part, unpaired
from srcid.evaluation.probes import fit_probes
from srcid.evaluation.suite import read_stores, task_tables
from srcid.features import FeatureStore
from srcid.features.front_ends import weights_checksum
from srcid.model.network import SRCID
from tests.helpers import tiny_params, tiny_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("whole") / "store")


@pytest.fixture(scope="module")
def net(whole):
    torch.manual_seed(0)
    net = SRCID(whole.shapes, tiny_params())
    net({m: torch.from_numpy(x) for m, x in whole.batch(whole.splits["train"]).items()})  # codebooks start at the data
    return net.eval()


def part_of(whole, path, *modalities, widen=0):
    features = {m: np.asarray(whole.features[m]) for m in modalities}
    features = {m: np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, widen)]) for m, x in features.items()}
    return FeatureStore.create(
        path, features=features, labels={"event": whole.labels["event"]},
        classes={"event": whole.label_info["event"].classes}, splits=whole.splits, evaluation_only=True,
        provenance={"name": f"only {' and '.join(modalities)}"},
    )  # fmt: skip


@pytest.mark.parametrize("modalities", [("second",), ("third", "first")])
def test_a_subset_is_encoded_as_it_would_be_beside_the_others(whole, net, tmp_path, modalities):
    table = encode(net, whole, tmp_path / "whole")
    part = encode(net, part_of(whole, tmp_path / "store", *modalities), tmp_path / "part")
    assert part.modalities == modalities
    assert part.model == table.model == weights_checksum(net)
    for k in (1, 2):
        for m in modalities:
            np.testing.assert_array_equal(part.codes(k, m), table.codes(k, m))
            np.testing.assert_allclose(part.quantized(k, m), table.quantized(k, m))


def test_other_weights_have_another_checksum(whole, net):
    before = weights_checksum(net)
    assert before == weights_checksum(net)
    other = SRCID(whole.shapes, tiny_params())
    other.load_state_dict(net.state_dict(), strict=False)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    assert weights_checksum(other) != before


def test_features_of_another_width_are_named_before_work_starts(whole, net, tmp_path):
    wide = part_of(whole, tmp_path / "wide", "first", "third", widen=2)
    with pytest.raises(CodeTableError) as error:
        encode(net, wide, tmp_path / "codes")
    for m, own in (("first", 10), ("third", 7)):
        said = f"features of another width than the model's: modality '{m}' has shape ({own + 2},) a step"
        assert said in str(error.value) and f"trained on ({own},)" in str(error.value)
    assert not (tmp_path / "codes").exists() and not (tmp_path / "codes.partial").exists()


def test_data_sets_with_one_modality_each_go_all_the_way_to_scores(whole, net, tmp_path):
    tables = {m: encode(net, part_of(whole, tmp_path / f"s{m}", m), tmp_path / m) for m in ("first", "third")}
    results = fit_probes(unpaired(*tables.values()), tiny_params(), ("unpaired",), ("all",))
    assert {(s.train, s.test) for s in results.scores} == {(a, b) for a in tables for b in tables}


def test_nothing_is_encoded_twice(whole, net, tmp_path):
    asked = []

    def network():
        asked.append(1)
        return net

    first = encode_once(network, whole, tmp_path / "codes")
    again = encode_once(network, whole, tmp_path / "codes")
    assert len(asked) == 1 and again.path == first.path
    encode_once(network, part_of(whole, tmp_path / "store", "first"), tmp_path / "codes")
    assert len(asked) == 2


def test_stores_are_read_by_task_and_what_does_not_suit_is_said(whole, net, tmp_path):
    one, two = part_of(whole, tmp_path / "one", "first"), part_of(whole, tmp_path / "two", "first", "third")
    wide = part_of(whole, tmp_path / "wide", "first", widen=1)
    made = []

    def load():
        made.append("network")
        return net

    parts, notes = read_stores(
        {
            "unpaired": [str(one.path), f"{two.path}#third"],
            "cross-dataset": [str(one.path), str(two.path)],
            "localisation": str(wide.path),
            "classification": str(tmp_path / "nowhere"),
        },
        load,
        tmp_path / "codes",
    )
    assert set(parts) == {"unpaired", "cross-dataset"}
    assert parts["unpaired"][1].modalities == ("third",) and parts["unpaired"][1].name == "only first and third"
    assert len(made) == 3  # each store once; of the wide one it was tried
    assert "localisation was left out" in notes[0] and "another width than the model's" in notes[0]
    assert "classification was left out" in notes[1] and "nowhere" in notes[1]
    tables = task_tables(encode(net, whole, tmp_path / "own"), "own", parts)
    assert set(tables.tables) == {"classification", "localisation", "cross-dataset", "unpaired", "open-set"}
    assert isinstance(parts["unpaired"][0], Part)
