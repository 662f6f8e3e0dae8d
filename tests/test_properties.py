"""What must hold of any input: of any codes, any padding, any moment at which training stops, any store."""

import dataclasses
import math
import shutil
import threading
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from srcid.codebook.agreement import code_agreement
from srcid.codebook.usage import code_usage
from srcid.features import FeatureStore
from srcid.model.network import SRCID
from srcid.training import checkpoint
from srcid.training.loop import train
from tests.helpers import tiny_params, tiny_store

# time is no matter here: another process may take the processor
EASY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def codes(draw, modalities=("sound", "image", "word"), size=7):
    """Codes of a few modalities at the same clips and steps, -1 where there is no step; one step is everywhere."""
    shape = draw(st.tuples(st.integers(2, 8), st.integers(1, 5)))
    found = {m: draw(hnp.arrays(np.int64, shape, elements=st.integers(-1, size - 1))) for m in modalities}
    for values in found.values():
        values[0, 0] = max(values[0, 0], 0)
    return found


def numbers(result) -> list[float]:
    """All numbers in a result, in order."""
    if dataclasses.is_dataclass(result):
        return numbers([getattr(result, field.name) for field in dataclasses.fields(result)])
    if isinstance(result, dict):
        return numbers(list(result.values()))
    if isinstance(result, list | tuple):
        return [number for part in result for number in numbers(part)]
    if isinstance(result, np.ndarray):
        return result.ravel().astype(float).tolist() if result.dtype.kind in "biuf" else []
    return [float(result)] if isinstance(result, int | float) else []


def assert_same(one, other):
    found, expected = numbers(one), numbers(other)
    assert len(found) > 10 and any(math.isfinite(number) and number != 0 for number in found)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@EASY
@given(codes=codes(), names=st.permutations(range(7)))
def test_other_names_of_the_codes_change_no_agreement(codes, names):
    names = np.array([*names, -1])  # -1 stays -1
    renamed = {m: names[values] for m, values in codes.items()}
    assert_same(*(code_agreement(given, bootstrap=0) for given in (codes, renamed)))


@EASY
@given(codes=codes(), data=st.data())
def test_another_order_of_the_clips_changes_neither_agreement_nor_usage(codes, data):
    order = data.draw(st.permutations(range(len(codes["sound"]))))
    moved = {m: values[list(order)] for m, values in codes.items()}
    assert_same(*(code_agreement(given, bootstrap=0) for given in (codes, moved)))
    assert_same(*(code_usage(given, bootstrap=0) for given in (codes, moved)))


@EASY
@given(codes=codes())
def test_agreement_is_symmetric(codes):
    turned = dict(reversed(codes.items()))
    one, other = (code_agreement(given, bootstrap=0) for given in (codes, turned))
    for pair in one.pairs:
        [same] = [p for p in other.pairs if {p.first, p.second} == {pair.first, pair.second} and p.where == pair.where]
        assert numbers(pair) == pytest.approx(numbers(same), nan_ok=True)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = SRCID({"sound": (6,), "image": (4, 4, 3)}, tiny_params(layers=2))
    made({m: torch.randn(8, 5, *shape) for m, shape in made.shapes.items()})  # codebooks start at data
    return made.eval()


@settings(EASY, max_examples=8)
@given(
    masks=hnp.arrays(bool, (2, 4, 5)),
    filling=st.floats(allow_nan=True, allow_infinity=True, width=32),
)
def test_what_stands_at_masked_steps_never_matters(network, masks, filling):
    torch.manual_seed(1)
    masks = dict(zip(network.shapes, torch.from_numpy(masks | (np.arange(5) == 0)), strict=True))
    inputs = {m: torch.randn(4, 5, *shape) for m, shape in network.shapes.items()}
    filled = {m: x.masked_fill(~masks[m].view(4, 5, *[1] * (x.ndim - 2)), filling) for m, x in inputs.items()}
    with torch.no_grad():
        one, other = network(inputs, masks), network(filled, masks)
    for before, after in zip(one, other, strict=True):
        for m in inputs:
            assert torch.equal(before.quantized.codes[m], after.quantized.codes[m])
            assert torch.equal(before.general[m][masks[m]], after.general[m][masks[m]])
    torch.manual_seed(2)
    expected = network.losses(one)[0]
    torch.manual_seed(2)
    assert torch.equal(network.losses(other)[0], expected) and expected.isfinite()


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("vectors") / "store", clips=30, steps=4, grid=False)


@settings(EASY, max_examples=3)
@given(
    quantizer=st.sampled_from(["vq", "rvq", "fsq"]),
    layers=st.integers(1, 2),
    every=st.integers(1, 6),
    after=st.integers(1, 7),
)
def test_resuming_equals_no_interruption(vectors, tmp_path, quantizer, layers, every, after):
    options = dict(quantizer=quantizer, layers=layers, epochs=3, batch_size=6, log_every=1)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        shutil.rmtree(folder, ignore_errors=True)
    ended = train(vectors, tiny_params(**options), whole)
    stop = threading.Event()
    params = tiny_params(**options, checkpoint_every=every)
    stopped = train(vectors, params, cut, on_metrics=lambda line: line["step"] < after or stop.set(), stop=stop)
    assert stopped.status == "stopped" and after <= stopped.step < ended.steps
    assert train(vectors, params, cut).status == "finished"
    (one_step, one, _), (other_step, other, _) = (checkpoint.load(f / "checkpoint") for f in (whole, cut))
    assert one_step == other_step and one.keys() == other.keys() and len(one) > 20
    assert all(torch.equal(one[name], other[name]) for name in one)


@settings(EASY, max_examples=15)
@given(data=st.data(), clips=st.integers(3, 6), steps=st.integers(1, 4))
def test_a_store_gives_back_what_it_was_given(tmp_path, data, clips, steps):
    def drawn(dtype, shape, elements=None):
        return data.draw(hnp.arrays(dtype, shape, elements=elements))

    finite = st.floats(-1e6, 1e6, width=32)
    features = {m: drawn(np.float32, (clips, steps, w), finite) for m, w in (("sound", 3), ("image", 2))}
    masks = {"sound": drawn(bool, (clips, steps)) | (np.arange(steps) == 0)}
    labels = {"event": drawn(bool, (clips, steps, 2)), "who": drawn(np.int64, (clips,), st.integers(-1, 2))}
    letters = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=6)
    letters = letters.map(lambda text: unicodedata.normalize("NFC", text))  # the form in which a store keeps text
    ids = data.draw(st.lists(letters, min_size=clips, max_size=clips, unique=True))
    names = data.draw(st.lists(letters, min_size=3, max_size=3, unique=True))
    cut = data.draw(st.integers(1, clips - 1))
    splits = {"train": np.arange(cut), "test": np.arange(cut, clips)}
    path = tmp_path / "store"
    shutil.rmtree(path, ignore_errors=True)
    classes = {"event": names[:2], "who": names}
    FeatureStore.create(
        path, features=features, masks=masks, labels=labels, classes=classes, splits=splits, ids=np.array(ids)
    )
    store = FeatureStore.open(path)
    for m, values in features.items():
        where = masks.get(m, np.ones((clips, steps), bool))
        np.testing.assert_array_equal(store.masks[m], where)
        np.testing.assert_array_equal(np.asarray(store.features[m])[where], values[where])
    for name, values in labels.items():
        np.testing.assert_array_equal(store.labels[name], values)
        assert store.label_info[name].classes == tuple(classes[name])
    assert store.ids.tolist() == ids
    assert {name: rows.tolist() for name, rows in store.splits.items()} == {k: v.tolist() for k, v in splits.items()}
