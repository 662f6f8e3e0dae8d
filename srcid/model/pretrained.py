"""The published front ends of raw media: VGG19 for pictures, VGGish for sound, BERT for words; weights are local files.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, up to the fifth
pooling: a grid ``[7, 7, 512]``. Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017,
after its last ReLU: 128 numbers. Devlin et al., "BERT: pre-training of deep bidirectional transformers for language
understanding", NAACL 2019, its last layer: 768 numbers a word for the base size. Nothing is fetched: the files are the
user's, and only tensors are read from them.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srcid.problems import ProblemsError

PUBLISHED = {
    "vgg19": "vgg19-dcbb9e9d.pth of torchvision (pytorch.org, VGG19_Weights.IMAGENET1K_V1)",
    "vggish": "vggish-10086976.pth of torchvggish (GitHub, harritaylor/torchvggish, release v0.1)",
    "bert": "the folder of a BERT model, such as google-bert/bert-base-uncased (huggingface.co): config.json, "
    "model.safetensors, tokenizer.json or vocab.txt",
}


class WeightsError(ProblemsError):
    """A file of weights that is absent or does not fit; the message says which one to get."""


class VGG19(nn.Module):
    """Pictures ``[n, frames, 3, 224, 224]``, 0 to 1, to ``[n, 512, 7, 7]``, the mean over a step's frames."""

    size, frames, version = 224, 16, "1"
    layers = (64, 64, "pool", 128, 128, "pool", *(256,) * 4, "pool", *(512,) * 4, "pool", *(512,) * 4, "pool")

    def __init__(self) -> None:
        super().__init__()
        self.features = _convolutions(3, self.layers)
        # colours of ImageNet, by which torchvision's weights were trained
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, steps: Tensor) -> Tensor:
        return torch.stack([self.features((step - self.mean) / self.deviation).mean(0) for step in steps])


class VGGish(nn.Module):
    """Sound ``[n, samples]`` at 16 kHz to ``[n, 128]``: of each step 0.96 s; shorter ones are padded."""

    rate, version = 16_000, "1"
    layers = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool")

    def __init__(self) -> None:
        super().__init__()
        self.features = _convolutions(1, self.layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 4 * 6, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128), nn.ReLU()
        )
        self.register_buffer("filters", torch.from_numpy(vggish_filters()).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(400), persistent=False)

    def spectrogram(self, steps: Tensor) -> Tensor:
        """Log mel magnitudes ``[n, 96, 64]``: windows of 25 ms every 10 ms, log(mel + 0.01)."""
        need = 400 + 95 * 160
        steps = F.pad(steps, (0, max(0, need - steps.shape[1])))[:, :need]
        magnitude = torch.fft.rfft(steps.unfold(1, 400, 160) * self.window, 512).abs()
        return (magnitude @ self.filters + 0.01).log()

    def forward(self, steps: Tensor) -> Tensor:
        found = self.features(self.spectrogram(steps)[:, None])
        return self.embeddings(found.permute(0, 2, 3, 1).flatten(1))  # channels last, as the weights were trained


class Bert(nn.Module):
    """Words ``n`` to ``[n, D]``: the last layer at each word's subwords, their mean, with the other words around it.

    Sentences longer than the model takes are read in parts. A word of which the vocabulary keeps nothing is all zeros.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, version: str) -> None:
        super().__init__()
        self.model, self.tokenizer, self.version = model, tokenizer, version

    def forward(self, words: list[str]) -> Tensor:
        parts = self.tokenizer(
            words, is_split_into_words=True, padding=True, truncation=True, return_overflowing_tokens=True,
            max_length=self.model.config.max_position_embeddings, return_tensors="pt",
        )  # fmt: skip
        given = {name: parts[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        hidden = self.model(**given).last_hidden_state.flatten(0, 1)
        owner = [word for part in range(len(parts["input_ids"])) for word in parts.word_ids(part)]
        place = torch.tensor([n for n, word in enumerate(owner) if word is not None], dtype=torch.long)
        owner = torch.tensor([word for word in owner if word is not None], dtype=torch.long)
        total = hidden.new_zeros(len(words), hidden.shape[1]).index_add_(
            0, owner.to(hidden.device), hidden[place.to(hidden.device)]
        )
        return total / owner.bincount(minlength=len(words)).clamp(min=1).to(total)[:, None]


def vggish_filters() -> np.ndarray:
    """Triangular filters ``[257, 64]`` from 125 to 7,500 Hz, straight on the mel scale 1127 ln(1 + f / 700)."""
    mel = 1127 * np.log1p(np.linspace(0, 8000, 257) / 700)[:, None]
    edges = np.linspace(*(1127 * np.log1p(np.array([125.0, 7500.0]) / 700)), 66)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    filters = np.maximum(0, np.minimum((mel - low) / (middle - low), (high - mel) / (high - middle)))
    filters[0] = 0  # no direct current
    return filters


def vgg19(weights: str | Path) -> VGG19:
    """VGG19 up to pool5 with the weights of a file: a state dict or safetensors, named as torchvision's.

    Raises:
        WeightsError: no such file, or other weights.
    """
    return _loaded(VGG19(), "vgg19", Path(weights))


def vggish(weights: str | Path) -> VGGish:
    """VGGish with the weights of a file, named as torchvggish's; see :func:`vgg19`."""
    return _loaded(VGGish(), "vggish", Path(weights))


def bert(folder: str | Path) -> Bert:
    """BERT with the weights and the vocabulary in a folder, as the package transformers keeps them.

    Raises:
        WeightsError: transformers is not installed, or the folder holds no BERT model that is all there.
    """
    heading, folder = "bert needs a model that is on this machine:", Path(folder)
    advice = f"get {PUBLISHED['bert']}, and say bert=FOLDER"
    if find_spec("transformers") is None:
        raise WeightsError(heading, ["found no package transformers: pip install 'srcid[bert]'"])
    if not (folder / "config.json").is_file():
        raise WeightsError(heading, [f"found no config.json in {folder}; {advice}"])
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        model, tokenizer, wrong = _transformers(folder) if kind == "bert" else (None, None, [f"a {kind} model"])
    except Exception as error:  # as in _loaded
        raise WeightsError(heading, [f"{folder} cannot be read ({type(error).__name__}: {str(error)[:200]})"]) from None
    if wrong:
        raise WeightsError(heading, [f"found {', '.join(wrong)} in {folder}; {advice}"])
    from transformers import __version__

    words = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    return Bert(model, tokenizer, f"1, transformers {__version__}, vocabulary {words[:12]}")


def _transformers(folder: Path) -> tuple[Any, Any, list[str]]:
    """Model and tokenizer in a folder, and what of them is missing."""
    from transformers import AutoTokenizer, BertModel
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        local = dict(local_files_only=True, trust_remote_code=False)
        model, report = BertModel.from_pretrained(
            folder, add_pooling_layer=False, output_loading_info=True, dtype=torch.float32, **local
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **local)
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    wrong = [f"no {name}" for name in sorted(report["missing_keys"])[:3]]
    if not 5 < len(tokenizer) <= model.config.vocab_size:
        wrong.append(f"a vocabulary of {len(tokenizer)} for a model of {model.config.vocab_size} subwords")
    return model, tokenizer, wrong


def _convolutions(channels: int, layers: tuple[int | str, ...]) -> nn.Sequential:
    made: list[nn.Module] = []
    for width in layers:
        if width == "pool":
            made.append(nn.MaxPool2d(2))
        else:
            made += [nn.Conv2d(channels, int(width), 3, padding=1), nn.ReLU()]
            channels = int(width)
    return nn.Sequential(*made)


def _loaded(module: nn.Module, name: str, file: Path) -> nn.Module:
    heading = f"{name} needs its published weights:"
    if not file.is_file():
        raise WeightsError(heading, [f"found no file {file}; get {PUBLISHED[name]}, and say {name}=FILE"])
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            given = load_file(file)
        else:
            given = torch.load(file, map_location="cpu", weights_only=True)
        need = module.state_dict()
        wrong = [key for key, tensor in need.items() if key not in given or given[key].shape != tensor.shape]
    except Exception as error:  # damaged files make readers raise anything; nothing is ever unpickled
        raise WeightsError(heading, [f"{file} cannot be read ({type(error).__name__}: {str(error)[:100]})"]) from None
    if wrong:
        told = f"{file} has no fitting {', '.join(wrong[:3])} ({len(wrong)} of {len(need)} tensors)"
        raise WeightsError(heading, [f"{told}; get {PUBLISHED[name]}"])
    module.load_state_dict({key: given[key] for key in need})
    return module
