"""Published front ends: the networks that their authors' weights fit, and files that are something else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from srcid.features import FeatureStore, StoreError
from srcid.features.extraction import extract
from srcid.features.front_ends import front_end
from srcid.model import pretrained
from srcid.model.pretrained import VGG19, VGGish, WeightsError, bert, vgg19, vggish, vggish_filters
from tests.features import media_files as files


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights by He's rule, the same everywhere."""
    draw = np.random.default_rng(0)
    made = {}
    for name, shape in shapes.items():
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.01
        made[name] = torch.from_numpy((draw.standard_normal(shape) * scale).astype(np.float32))
    return made


def test_vgg19_gives_what_torchvisions_gives(tmp_path):
    weights = drawn({name: tuple(tensor.shape) for name, tensor in VGG19().state_dict().items()})
    assert len(weights) == 32 and weights["features.34.weight"].shape == (512, 512, 3, 3)
    # the classifier of torchvision's file is not needed
    torch.save(weights | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    image = torch.from_numpy(np.random.default_rng(1).random((1, 3, 224, 224), np.float32))
    with torch.inference_mode():
        found = vgg19(tmp_path / "weights.pth")(image[None])[0]
    # torchvision 0.28: vgg19().features(normalize(image, mean, std)) with these weights
    assert found.shape == (512, 7, 7)
    some = torch.tensor([0.791645, 3.410391, 1.570568, 0, 0, 0])
    torch.testing.assert_close(found[::100, 3, 4], some, rtol=1e-4, atol=1e-4)
    assert [float(v) for v in (found.mean(), found.std(), found.max())] == pytest.approx(
        [2.200038, 2.763115, 15.073176], rel=1e-4
    )


def test_vggish_hears_as_published():
    rate, samples = 16_000, np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in VGGish().state_dict().items()}
    assert list(shapes) == [
        f"{part}.{n}.{kind}"
        for part, numbers in (("features", (0, 3, 6, 8, 11, 13)), ("embeddings", (0, 2, 4)))
        for n in numbers
        for kind in ("weight", "bias")
    ]
    assert shapes["embeddings.0.weight"] == (4096, 12_288) and shapes["embeddings.4.weight"] == (128, 4096)
    # Hershey et al.'s mel_features.py, frame by frame, in float64
    window = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    frames = np.stack([samples[160 * n : 160 * n + 400] * window for n in range(96)])
    hertz = np.linspace(0, rate / 2, 257)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    filters = np.zeros((257, 64))
    for band in range(64):
        low, middle, high = edges[band : band + 3]
        for n, mel in enumerate(1127 * np.log(1 + hertz / 700)):
            filters[n, band] = max(0, min((mel - low) / (middle - low), (high - mel) / (high - middle))) * (n > 0)
    np.testing.assert_allclose(vggish_filters(), filters, atol=1e-12)
    want = np.log(np.abs(np.fft.rfft(frames, 512)) @ filters + 0.01)
    module = VGGish()
    found = module.spectrogram(torch.from_numpy(samples[None]))
    np.testing.assert_allclose(found[0].numpy(), want, atol=1e-4)
    short = module.spectrogram(torch.from_numpy(samples[None, :8000]))
    np.testing.assert_allclose(short[0, 50:], np.log(0.01), atol=1e-5)
    with torch.inference_mode():
        heard = module.eval()(torch.from_numpy(np.stack([samples, samples / 2])))
    assert heard.shape == (2, 128) and (heard >= 0).all() and not torch.equal(heard[0], heard[1])


def test_files_that_are_no_weights_say_what_to_get(tmp_path):
    with pytest.raises(WeightsError, match=r"found no file .*absent.pth; get vgg19-dcbb9e9d.pth of torchvision"):
        vgg19(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(WeightsError, match=r"text\.pth cannot be read"):
        vggish(tmp_path / "text.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"has no fitting features.0.bias, .* \(31 of 32 tensors\); get vgg19"):
        vgg19(tmp_path / "part.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")  # a pickle of code
    with pytest.raises(WeightsError, match=r"module\.pth cannot be read"):
        vgg19(tmp_path / "module.pth")


def test_extraction_takes_them_by_name(tmp_path):
    from safetensors.torch import save_file

    weights = drawn({name: tuple(tensor.shape) for name, tensor in VGG19().state_dict().items()})
    save_file(weights, tmp_path / "vgg.safetensors")
    end = front_end("video", f"vgg19={tmp_path / 'vgg.safetensors'}")
    assert (end.name, end.version, end.size, end.frames) == ("vgg19", "1", 224, 16) and len(end.weights) == 64
    assert end(np.full((1, 2, 224, 224, 3), 128, np.uint8)).shape == (1, 7, 7, 512)  # channels last
    with pytest.raises(StoreError, match=r"vggish needs its published(.|\n)*vggish-10086976.pth of torchvggish"):
        front_end("audio", "vggish=absent.pth")
    with pytest.raises(StoreError, match="need patches, none, vgg19=WEIGHTS, or MODULE:FUNCTION"):
        front_end("video", "vgg19")
    with pytest.raises(StoreError, match="need subwords, none, bert=WEIGHTS, or MODULE:FUNCTION"):
        front_end("text", f"vgg19={tmp_path / 'vgg.safetensors'}")


VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "bark", "##s", "##ing", "bell"]


@pytest.fixture
def tiny(tmp_path):
    """A BERT of two layers of eight numbers, as its package keeps one, which takes 12 subwords at a time."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=12, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "tiny")
    (tmp_path / "tiny/vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return tmp_path / "tiny"


def test_a_word_is_the_mean_of_its_subwords_among_the_others(tiny):
    end = front_end("text", f"bert={tiny}")
    numbers = torch.tensor([[VOCABULARY.index(w) for w in ("[CLS]", "a", "dog", "bark", "##s", "[UNK]", "[SEP]")]])
    with torch.inference_mode():
        hidden = end.apply.module.model(numbers).last_hidden_state[0].numpy()
    want = np.stack([hidden[1], hidden[2], hidden[3:5].mean(0), hidden[5]])
    np.testing.assert_allclose(end(["A", "dog", "barks", "xyz"]), want, atol=1e-5)
    assert np.abs(end(["dog"])[0] - want[1]).max() > 0.1  # other words around it
    found = end(["dog", "\u0301", "bell"])  # of an accent alone nothing is left
    assert not found[1].any() and found[[0, 2]].any(1).all()


def test_a_sentence_longer_than_the_model_is_read_in_parts(tiny):
    end, words = front_end("text", f"bert={tiny}"), ["a", "dog", "barking"] * 9
    found = end(words)  # ten subwords at a time: eight words, then the others
    np.testing.assert_allclose(found[:8], end(words[:8]), atol=1e-5)
    assert found.shape == (27, 8) and found.any(1).all()
    numbers = [[VOCABULARY.index(w) for w in part.split()] for part in (
        "[CLS] bark ##ing ##s bark ##ing ##s bark ##ing ##s bark [SEP]", "[CLS] ##ing ##s [SEP]"
    )]  # fmt: skip
    with torch.inference_mode():
        first, second = (end.apply.module.model(torch.tensor([part])).last_hidden_state[0] for part in numbers)
    want = torch.cat([first[10:11], second[1:3]]).mean(0).numpy()
    np.testing.assert_allclose(end(["barkings"] * 4)[3], want, atol=1e-5)


def test_extraction_keeps_which_bert_it_was(tiny, tmp_path):
    for n in range(4):
        files.picture(tmp_path / f"in/{n}.png", "red")
        (tmp_path / f"in/{n}.txt").write_text("A dog barks, a bell")
    end = front_end("text", f"bert={tiny}")
    extract(tmp_path / "in", tmp_path / "store", steps=4, front_ends={"text": f"bert={tiny}"})
    store = FeatureStore.open(tmp_path / "store")
    np.testing.assert_allclose(store.features["text"][0], end(["A", "dog", "barks", "a"]), atol=1e-5)
    facts = store.provenance["front_ends"]["text"]
    assert facts == end.facts() and facts["name"] == "bert" and len(facts["weights_sha256"]) == 64
    assert "transformers 5" in facts["version"]
    (tiny / "vocab.txt").write_text("\n".join([*VOCABULARY[:-1], "gong"]) + "\n")
    other = front_end("text", f"bert={tiny}").facts()
    assert other["weights_sha256"] == facts["weights_sha256"] and other["version"] != facts["version"]


def test_folders_that_hold_no_bert_say_what_to_get(tiny, tmp_path, monkeypatch):
    config = (tiny / "config.json").read_text()
    with pytest.raises(WeightsError, match=r"found no config.json in .*absent; get the folder of a BERT model"):
        bert(tmp_path / "absent")
    (tiny / "vocab.txt").rename(tmp_path / "vocab.txt")
    with pytest.raises(WeightsError, match=r"a vocabulary of \d+ for a model of 11 subwords|cannot be read"):
        bert(tiny)
    (tiny / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]))
    with pytest.raises(WeightsError, match="found a vocabulary of 12 for a model of 11 subwords in"):
        bert(tiny)
    (tmp_path / "vocab.txt").rename(tiny / "vocab.txt")
    for old, new, said in (
        ('"bert"', '"gpt2"', "found a gpt2 model in"), ("{", "", "cannot be read"),
        ('"num_hidden_layers": 2', '"num_hidden_layers": 3', "found no "),
    ):  # fmt: skip
        assert old in config
        (tiny / "config.json").write_text(config.replace(old, new))
        with pytest.raises(WeightsError, match=said):
            bert(tiny)
    (tiny / "config.json").write_text(config)
    (tiny / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        bert(tiny)
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"found no package transformers: pip install 'srcid\[bert\]'"):
        bert(tiny)
