"""The CodeTable says what the model says, and is complete or absent."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from srcid.codes import CodeTable, CodeTableError, encode
from srcid.features import FeatureStore
from srcid.files import sealed, unsealed
from srcid.model.network import SRCID
from srcid.params import LIBRARY_QUANTIZERS
from srcid.symbols import InspectionError, label_of
from tests.helpers import tiny_params, tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    draw = np.random.default_rng(0)
    masks = {"third": np.ones((40, 6), bool)}
    masks["third"][draw.integers(40, size=10), -1] = False
    return tiny_store(tmp_path_factory.mktemp("store") / "tiny", masks=masks)


def network(store, **changes):
    torch.manual_seed(0)
    net = SRCID(store.shapes, tiny_params(**changes))
    batch = {m: torch.from_numpy(x) for m, x in store.batch(store.splits["train"]).items()}
    net(batch)  # in training mode, so that codebooks start at the data
    return net.eval()


def reference(net, store):
    batch = {m: torch.from_numpy(x) for m, x in store.batch(np.arange(store.clips)).items()}
    with torch.no_grad():
        return net(batch, {m: torch.from_numpy(store.masks[m].copy()) for m in batch})


@pytest.mark.parametrize(
    ("quantizer", "projection"),
    [(kind, True) for kind in ("vq", "rvq", "fsq", "identity", *LIBRARY_QUANTIZERS)] + [("fsq", False)],
)
def test_table_equals_the_network(store, tmp_path, quantizer, projection):
    net = network(store, quantizer=quantizer, stages=3, fsq_projection=projection)
    table = encode(net, store, tmp_path / "codes", batch_size=7)
    outputs = reference(net, store)
    for k, output in enumerate(outputs, 1):
        for m in store.modalities:
            valid = store.masks[m]
            expected = output.quantized.quantized[m].numpy()
            np.testing.assert_allclose(table.quantized(k, m)[valid], expected[valid], atol=1e-5)
            assert (table.quantized(k, m)[~valid] == 0).all()
            codes = table.codes(k, m)
            assert codes.shape == (40, 6, table.stages)
            np.testing.assert_array_equal(codes[valid], output.quantized.codes[m].numpy()[valid])
            assert (codes[~valid] == -1).all()
            rows, general = table.general(k, m)
            np.testing.assert_array_equal(rows, np.arange(40))
            np.testing.assert_allclose(general[valid], output.general[m].numpy()[valid], atol=1e-5)
            gap = np.linalg.norm(output.general[m].numpy() - expected, axis=-1)
            np.testing.assert_allclose(table.distance(k, m)[valid], gap[valid], atol=1e-4)


def test_second_choice_is_the_second_nearest(store, tmp_path):
    net = network(store)
    table = encode(net, store, tmp_path / "codes")
    z = np.asarray(table.general(1, "first")[1], np.float64)
    gaps = np.linalg.norm(z[:, :, None] - table.codebook(1)[0].astype(np.float64), axis=-1)
    order = np.argsort(gaps, axis=-1)
    np.testing.assert_array_equal(table.codes(1, "first")[..., 0], order[..., 0])
    np.testing.assert_array_equal(table.second(1, "first"), order[..., 1])
    two = np.take_along_axis(gaps, order[..., :2], axis=-1)
    np.testing.assert_allclose(table.nearest(1, "first"), two, atol=1e-4)
    np.testing.assert_allclose(table.margin(1, "first"), 1 - two[..., 0] / two[..., 1], atol=1e-4)
    padded = ~store.masks["third"]
    assert padded.any() and np.isnan(table.margin(1, "third")[padded]).all()


def test_a_table_of_the_first_version_opens_and_says_what_it_lacks(store, tmp_path):
    table = encode(network(store), store, tmp_path / "codes")
    for file in table.arrays.glob("nearest_*.npy"):
        file.unlink()
    files = {name: about for name, about in table.manifest["files"].items() if not name.startswith("nearest_")}
    (table.path / "manifest.json").write_text(json.dumps(table.manifest | {"version": 1, "files": files}))
    old = CodeTable.open(table.path)
    np.testing.assert_array_equal(old.second(1, "first"), table.second(1, "first"))
    with pytest.raises(CodeTableError, match="earlier version: delete the folder and encode again"):
        old.margin(1, "first")


def test_joint_symbols_number_combinations_alike_in_all_modalities(store, tmp_path):
    table = encode(network(store, quantizer="rvq", stages=2), store, tmp_path / "codes")
    symbol, codes = {}, {}
    for m in store.modalities:
        for s, c in zip(table.code(1, m).ravel(), table.codes(1, m).reshape(-1, 2), strict=True):
            assert symbol.setdefault(tuple(c), s) == s
            assert codes.setdefault(s, tuple(c)) == tuple(c)
    assert symbol.get((-1, -1)) == -1
    assert table.symbols(1) == len(symbol) - 1


def test_evaluating_leaves_codebooks_bit_identical(store, tmp_path):
    net = network(store)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    encode(net, store, tmp_path / "codes")
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not net.training


def test_train_mode_reads_noisy_codes_and_still_keeps_codebooks(store, tmp_path):
    net = network(store, encode_mode="train", dropout=0.5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    noisy = encode(net, store, tmp_path / "noisy")
    again = encode(net, store, tmp_path / "again")
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    np.testing.assert_array_equal(noisy.codes(1, "first"), again.codes(1, "first"))
    clean = encode(network(store, dropout=0.5), store, tmp_path / "clean")
    assert (noisy.codes(1, "first") != clean.codes(1, "first")).any()


def test_a_sample_of_continuous_features(store, tmp_path):
    table = encode(network(store, keep_features=9), store, tmp_path / "codes")
    rows, values = table.specific(2, "second")
    assert len(rows) == len(values) == 9 and (np.diff(rows) > 0).all()
    full = encode(network(store), store, tmp_path / "full")
    np.testing.assert_allclose(values, full.specific(2, "second")[1][rows], atol=1e-6)
    none = encode(network(store, keep_features=0), store, tmp_path / "none")
    with pytest.raises(CodeTableError, match="keep_features above 0"):
        none.general(1, "first")


def test_labels_ids_splits_travel(store, tmp_path):
    table = encode(network(store), store, tmp_path / "codes")
    np.testing.assert_array_equal(table.labels["event"], store.labels["event"])
    assert table.label_info == store.label_info
    assert list(table.ids) == list(store.ids)
    assert {k: list(v) for k, v in table.splits.items()} == {k: list(v) for k, v in store.splits.items()}
    assert table.checksum == store.checksum and table.params["codebook_size"] == 12


@pytest.mark.parametrize(("quantizer", "levels"), [("vq", ()), ("rvq", ()), ("fsq", (4, 3))])
def test_the_long_frame_says_what_the_arrays_say(store, tmp_path, quantizer, levels):
    table = encode(network(store, quantizer=quantizer, stages=2, fsq_levels=levels), store, tmp_path / "codes")
    frame = table.frame()
    present = sum(int(store.masks[m].sum()) for m in store.modalities)
    assert len(frame) == table.layers * table.stages * present
    draw = np.random.default_rng(0)
    names = np.array(["bark", "horn", "rain", "background"])
    for found in frame.iloc[draw.integers(len(frame), size=60)].itertuples():
        where = (found.row, found.step)
        assert found.clip == store.ids[found.row] and found.row in store.splits[found.split]
        assert found.code == table.codes(found.layer, found.modality)[*where, found.stage - 1]
        assert found.distance == table.distance(found.layer, found.modality)[where]
        first = found.stage == 1
        assert (found.margin == table.margin(found.layer, found.modality)[where]) if first else np.isnan(found.margin)
        if first and quantizer != "fsq":
            assert found.second == table.second(found.layer, found.modality)[where] != found.code
        else:
            assert found.second is pd.NA
        assert found.label == names[np.append(store.labels["event"][where], not store.labels["event"][where].any())][0]
    assert set(table.frame(clips="val")["split"]) == {"val"} and table.frame(clips=[3])["row"].unique().tolist() == [3]


def test_parquet_files_hold_the_frame_split_by_split(store, tmp_path):
    table = encode(network(store), store, tmp_path / "codes")
    files = table.to_parquet(tmp_path / "out")
    assert [file.name for file in files] == ["train.parquet", "val.parquet", "test.parquet"]
    assert sorted(tmp_path.joinpath("out").iterdir()) == sorted([*files, tmp_path / "out/.huggingface.yaml"])
    for file in files:
        read, made = pd.read_parquet(file), table.frame(clips=file.stem)
        assert not any(pyarrow.types.is_dictionary(field.type) for field in pq.read_schema(file))
        pd.testing.assert_frame_equal(read, made.astype(read.dtypes))
    assert table.to_parquet(tmp_path / "out") == files  # in place of the old ones


def test_datasets_is_told_which_file_is_which_split(store, tmp_path):
    clips = np.array_split(np.arange(store.clips), 4)
    odd = FeatureStore.create(
        tmp_path / "odd", features={m: values[:] for m, values in store.features.items()},
        splits=dict(zip(("train", "fold-1", "fold_1", "all"), clips, strict=True)),
    )  # fmt: skip
    files = encode(network(odd), odd, tmp_path / "codes").to_parquet(tmp_path / "out")
    [config] = yaml.safe_load((tmp_path / "out/.huggingface.yaml").read_text())["configs"]
    said = {part["split"]: part["path"] for part in config["data_files"]}
    assert list(said.values()) == [file.name for file in files]
    # without it, datasets takes what it does not know for no split at all; "-" and "all" it refuses
    assert list(said) == ["train", "fold_1", "fold_1_", "all_"]


def test_what_a_frame_cannot_say(store, tmp_path):
    with pytest.raises(CodeTableError, match="the identity quantiser has no codes"):
        encode(network(store, quantizer="identity"), store, tmp_path / "identity").frame()
    table = encode(network(store), store, tmp_path / "codes")
    with pytest.raises(InspectionError, match="found no label 'mood'"):
        table.frame("mood")
    event = np.ma.array(store.labels["event"], mask=False)
    event[5] = np.ma.masked
    some = FeatureStore.create(
        tmp_path / "some", store.features, labels={"event": event}, classes={"event": ["a", "b", "c"]},
        splits={"odd": [5, 6]},
    )  # fmt: skip
    frame = encode(network(store), some, tmp_path / "other").frame()
    assert frame.loc[frame["row"] == 5, "label"].isna().all() and frame.loc[frame["row"] == 6, "label"].notna().all()
    assert frame.loc[frame["row"] == 4, "split"].isna().all()


def test_what_is_unlabelled_in_a_store_is_unlabelled_in_its_codes(store, tmp_path):
    event = np.ma.array(store.labels["event"], mask=False)
    event[::3] = np.ma.masked
    some = FeatureStore.create(
        tmp_path / "some", store.features, labels={"event": event}, classes={"event": ["bark", "horn", "rain"]},
        splits=store.splits,
    )  # fmt: skip
    table = encode(network(store), some, tmp_path / "codes")
    np.testing.assert_array_equal(table.labelled["event"], ~event.mask.any(-1))
    for kept in (table, CodeTable.open(tmp_path / "codes")):
        assert (label_of(kept, "event").symbols >= 0).any(1).tolist() == [n % 3 > 0 for n in range(40)]
    assert encode(network(store), store, tmp_path / "all").labelled == {}


def test_a_store_with_fewer_modalities_can_be_encoded(store, tmp_path):
    net = network(store)
    only = FeatureStore.create(
        tmp_path / "only", features={"third": np.asarray(store.features["third"])}, splits={"test": np.arange(40)},
        masks={"third": store.masks["third"]}, evaluation_only=True,
    )  # fmt: skip
    table = encode(net, only, tmp_path / "codes")
    assert table.modalities == ("third",)
    whole = encode(net, store, tmp_path / "whole")
    np.testing.assert_array_equal(table.codes(2, "third"), whole.codes(2, "third"))


def test_refusals(store, tmp_path):
    net = network(store)
    other = tiny_store(tmp_path / "other", grid=False)
    with pytest.raises(CodeTableError, match=r"'second' has shape \(8,\)"):
        encode(net, other, tmp_path / "codes")
    assert not (tmp_path / "codes").exists()
    with pytest.raises(CodeTableError, match="no code table"):
        CodeTable.open(tmp_path)
    table = encode(net, store, tmp_path / "codes")
    with pytest.raises(CodeTableError, match="layer 3"):
        table.codes(3, "first")
    with pytest.raises(CodeTableError, match="'audio' is not there"):
        table.codes(1, "audio")
    identity = encode(network(store, quantizer="identity"), store, tmp_path / "identity")
    with pytest.raises(CodeTableError, match="no codes"):
        identity.code(1, "first")
    manifest = json.loads((tmp_path / "codes/manifest.json").read_text())
    (tmp_path / "codes/manifest.json").write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(CodeTableError, match="checksum differs"):
        CodeTable.open(tmp_path / "codes")
    (tmp_path / "codes/manifest.json").write_text(json.dumps(sealed(unsealed(manifest) | {"version": 99})))
    with pytest.raises(CodeTableError, match="99"):
        CodeTable.open(tmp_path / "codes")


def test_reading_needs_no_torch(store, tmp_path):
    encode(network(store), store, tmp_path / "codes")
    code = (
        "import sys; from srcid.codes import CodeTable; "
        f"t = CodeTable.open({str(tmp_path / 'codes')!r}); t.quantized(1, 'first'); t.code(2, 'third'); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
