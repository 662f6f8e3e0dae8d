"""What a model says of a digit of one's own is what it says of the same features in a clip."""

from types import SimpleNamespace

import numpy as np
import pytest

from srcid.codes import encode
from srcid.features.checks import StoreError
from srcid.features.digits import DigitsParams, make_digits
from srcid.own_input import OwnInput
from tests.helpers import tiny_params, tiny_store, tiny_table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small store of digits, an untrained network whose codebook starts at the data, and its table."""
    import torch

    from srcid.model.network import SRCID

    folder = tmp_path_factory.mktemp("own")
    store = make_digits(folder / "digits", DigitsParams(train=60, val=10, test=20, steps=6))
    torch.manual_seed(0)
    network = SRCID(store.shapes, tiny_params())
    network({m: torch.from_numpy(x) for m, x in store.batch(store.splits["train"]).items()})
    return store, network.eval(), encode(network, store, folder / "codes")


@pytest.fixture
def view(made, monkeypatch):
    _, network, table = made
    monkeypatch.setattr("srcid.training.loop.load", lambda folder: network)
    return OwnInput(SimpleNamespace(codes=table.path, folder=table.path))


def test_features_of_a_clip_get_the_codes_of_that_clip_and_find_it(made, view):
    store, _, table = made
    clip = int(table.splits["test"][3])
    view.ask(text=store.batch(np.array([clip]))["text"][0])
    for layer in (1, 2):
        assert view.codes.code(layer, "text")[0].tolist() == table.code(layer, "text")[clip].tolist()
        np.testing.assert_allclose(view.codes.margin(layer, "text")[0], table.margin(layer, "text")[clip], atol=1e-4)
    found = view.nearest("text")
    assert found["cosine"].iloc[0] == pytest.approx(1) and clip in set(found["clip"][found["cosine"] > 1 - 1e-6])
    assert set(found["clip"]) <= set(table.splits["test"])
    frame = view.frame()
    assert frame.groupby("layer")["steps"].sum().tolist() == [store.steps] * 2 and set(frame["modality"]) == {"text"}


def test_the_controls_ask(view):
    with pytest.raises(ValueError, match="nothing was asked yet"):
        view.nearest("audio")
    view.word.value = "seven"
    assert not view.guard.message.value and list(view.given) == ["text"]
    assert "Codes of your text" in view.view.value and "nearest clips by their audio" in view.view.value
    assert "nearest clips by their text" not in view.view.value and "test clips" in view.figure().data
    view.draw.click()
    assert "empty picture" in view.guard.message.value and list(view.given) == ["text"]
    for place in (11, 19, 27, 35, 43):
        view.pixels[place].value = True
    view.draw.click()
    assert not view.guard.message.value and list(view.given) == ["video"]
    view.clear.click()
    assert not any(pixel.value for pixel in view.pixels)


def test_data_without_a_front_end_of_ours_are_refused(tmp_path):
    table = tiny_table(tiny_store(tmp_path / "store"), tmp_path / "codes")
    with pytest.raises(StoreError, match="needs features made here: digits, stamps"):
        OwnInput(SimpleNamespace(codes=table.path, folder=tmp_path))
