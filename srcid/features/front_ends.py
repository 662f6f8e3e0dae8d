"""Front ends: what makes features of a clip's raw steps. Three need no weights; any torch module or callable will do.

A front end takes all n steps of a clip that are there and returns ``[n, F]`` or ``[n, H, W, F]``:

======  =======================================================  ==============================================
        given to a callable                                      given to a torch module
======  =======================================================  ==============================================
audio   float32 ``[n, samples]``, mono, at ``rate`` Hz           the same as a tensor
video   uint8 ``[n, frames, size, size, 3]``, the middle square  float ``[n, 3, size, size]``, 0 to 1, of one
                                                                 frame a step, or ``[n, frames, 3, size, size]``
text    n words                                                  n words
======  =======================================================  ==============================================

A torch module runs in evaluation mode, without gradients, on the GPU where there is one; of ``[n, C, H, W]`` that it
returns, channels go last.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from srcid.features.checks import StoreError
from srcid.features.product import product
from srcid.features.recordings import mel_filters, spectrum
from srcid.params import suggest
from srcid.problems import ProblemsError

RATE = 16_000  # Hz
_BANDS, _QUARTERS, _WINDOW, _HOP = 32, 4, 512, 160
_SIZE, _CELLS, _CELL = 64, 4, 4  # pixels of a frame's side, cells along it, colours along a cell's side
WORD_DIM = 64


@dataclass(frozen=True)
class FrontEnd:
    """What makes features of one modality, and what a store says of it.

    Attributes:
        name, version: as the store keeps them.
        apply: see the head of this file.
        weights: SHA-256 of the weights; empty without any.
        rate: of sound, in Hz.
        size: pixels of each side of a frame.
        frames: frames of a step, evenly spaced over it.
    """

    name: str
    version: str
    apply: Callable[[Any], Any]
    weights: str = ""
    rate: int = RATE
    size: int = _SIZE
    frames: int = 1

    def __call__(self, steps: Any) -> np.ndarray:
        """Return the features of the steps of a clip.

        Raises:
            StoreError: the front end fails, or what it returns are no finite features ``[n, F]`` or ``[n, H, W, F]``.
        """
        heading = f"the front end {self.name} cannot be used:"
        try:
            found = np.asarray(self.apply(steps))
        except Exception as error:  # the user's code may raise anything
            raise StoreError(heading, [f"it raised {type(error).__name__}: {error}"]) from error
        if found.ndim not in (2, 4) or len(found) != len(steps) or found.dtype.kind not in "fiub" or 0 in found.shape:
            need = f"numbers [{len(steps)}, F] or [{len(steps)}, H, W, F]"
            raise StoreError(heading, [f"it returned {found.dtype} {[*found.shape]}, need {need}"])
        if not np.isfinite(found).all():
            raise StoreError(heading, ["it returned values that are not finite"])
        return found.astype(np.float32, copy=False)

    def facts(self) -> dict[str, Any]:
        """What a store keeps of it."""
        return {"name": self.name, "version": self.version, "weights_sha256": self.weights}

    def shape(self, kind: str, seconds: float) -> tuple[int, ...]:
        """Shape of the features of one step, as an empty one shows; raises as a call does."""
        empty = {
            "audio": np.zeros((1, round(self.rate * seconds)), np.float32),
            "video": np.zeros((1, self.frames, self.size, self.size, 3), np.uint8),
            "text": ["word"],
        }
        return self(empty[kind]).shape[1:]


def log_mel(steps: np.ndarray) -> np.ndarray:
    """Log power in 32 mel bands x 4 quarters of each step, ``[n, 128]``, brought to about -3 to 3."""
    filters = mel_filters(_BANDS, RATE, _WINDOW)
    power = [np.abs(spectrum(samples, _WINDOW, _HOP)) ** 2 / _WINDOW for samples in steps]
    quarters = np.array([[part.mean(axis=0) for part in np.array_split(frames, _QUARTERS)] for frames in power])
    return (np.log10(product(quarters, filters) + 1e-7).reshape(len(steps), -1) + 4) / 1.5


def patches(steps: np.ndarray) -> np.ndarray:
    """Colours of each step's frame, ``[n, 4, 4, 48]``: 4 x 4 cells of 4 x 4 colours, -2 to 2."""
    side = _SIZE // (_CELLS * _CELL)
    small = steps.mean(axis=1).reshape(len(steps), _CELLS, _CELL, side, _CELLS, _CELL, side, 3).mean(axis=(3, 6))
    cells = small.transpose(0, 1, 3, 2, 4, 5).reshape(len(steps), _CELLS, _CELLS, -1)
    return (cells / 255 - 0.5).astype(np.float32) * 4


def subwords(steps: list[str]) -> np.ndarray:
    """Hashed subwords of each word, ``[n, 64]``; see :func:`word_vector`."""
    return np.stack([word_vector(word.casefold(), WORD_DIM) for word in steps])


@cache
def word_vector(word: str, dim: int) -> np.ndarray:
    """Fixed vector ``[dim]`` of a word: the scaled sum of those of its 3-grams, 4-grams and itself."""
    framed = f"<{word}>"
    grams = [framed[i : i + n] for n in (3, 4) for i in range(len(framed) - n + 1)]
    parts = [np.random.default_rng(zlib.crc32(g.encode())).standard_normal(dim) for g in [*grams, framed]]
    return (np.sum(parts, axis=0) / np.sqrt(len(parts))).astype(np.float32)


Scale = dict[str, list[float]]
"""``mean`` and ``deviation`` of each feature, as a store keeps them for what is measured later."""


def standardised(values: np.ndarray, scale: Scale, mask: np.ndarray | None = None) -> np.ndarray:
    """Bring every feature of ``values [N, T, ...]`` to a scale; steps where ``mask [N, T]`` is false become 0."""
    there: Any = True if mask is None else mask.reshape(*mask.shape, *[1] * (values.ndim - 2))
    return (np.where(there, values - np.array(scale["mean"]), 0) / np.array(scale["deviation"])).astype(np.float32)


def measure_scale(values: np.ndarray, rows: np.ndarray, mask: np.ndarray | None = None) -> Scale:
    """Mean and deviation of every feature over all steps (and cells) of ``rows``.

    Args:
        values: ``[N, T, ...]``.
        rows: the clips that are learned from.
        mask: bool ``[N, T]``, the steps that there are; all by default.
    """
    axes = tuple(range(values.ndim - 1))
    seen: Any = True if mask is None else mask.reshape(*mask.shape, *[1] * (values.ndim - 2))[rows]
    mean = values[rows].mean(axes, dtype=float, where=seen)
    deviation = np.maximum(values[rows].std(axes, dtype=float, where=seen), 1e-6)
    return {"mean": mean.tolist(), "deviation": deviation.tolist()}


PRETRAINED = {"audio": "vggish", "video": "vgg19", "text": "bert"}
"""Published front end of a modality: a function of ``srcid.model.pretrained``, given a file or folder of weights."""

FRONT_ENDS: dict[str, FrontEnd] = {
    "audio": FrontEnd("log-mel", "1", log_mel),
    "video": FrontEnd("patches", "1", patches),
    "text": FrontEnd("subwords", "1", subwords),
}
"""The front end of each modality that is taken where none is named."""


def front_end(kind: str, given: str) -> FrontEnd:
    """Return the front end of a modality by its name, a published one, ``vgg19=WEIGHTS``, or the user's own.

    That is ``MODULE:FUNCTION``, whose function takes nothing and returns a callable or a torch module. What that has
    of the attributes ``version``, ``rate``, ``size`` and ``frames`` counts; see :class:`FrontEnd`.

    Raises:
        StoreError: there is no such name or module, or the function fails.
    """
    default, published = FRONT_ENDS[kind], PRETRAINED[kind]
    if given in ("", default.name):
        return default
    heading = f"the front end '{given}' of {kind} cannot be used:"
    name, equals, weights = given.partition("=")
    if name == published:
        module, arguments = "srcid.model.pretrained", (weights,)  # by its name, for it needs torch
    else:
        module, equals, name = given.partition(":")
        arguments = ()
    if not (equals and module and name):
        names = [default.name, "none", f"{published}=WEIGHTS"]
        known = f"{', '.join(names)}, or MODULE:FUNCTION"
        raise StoreError(heading, [f"found '{given}'{suggest(given, names)}, need {known}"])
    try:
        built = getattr(importlib.import_module(module), name)(*arguments)
    except ProblemsError as error:
        raise StoreError(heading, [error.heading, *error.problems]) from None
    except Exception as error:  # the user's code may raise anything
        raise StoreError(heading, [f"{module}:{name} raised {type(error).__name__}: {error}"]) from error
    if not callable(built):
        raise StoreError(heading, [f"{module}:{name}() returned {type(built).__name__}, need a callable or a module"])
    own = {key: getattr(built, key) for key in ("rate", "size", "frames") if isinstance(getattr(built, key, None), int)}
    found = replace(
        default,
        name=name if arguments else given,
        version=str(getattr(built, "version", "") or _source(module)),
        apply=built,
        **own,
    )
    torch = sys.modules.get("torch")  # whose module it is has imported it
    if torch is not None and isinstance(built, torch.nn.Module):
        found = replace(found, apply=_Module(built, torch), weights=weights_checksum(built))
    return found


class _Module:
    """A torch module as a callable on arrays."""

    def __init__(self, module: Any, torch: Any) -> None:
        self.torch, self.device = torch, "cuda" if torch.cuda.is_available() else "cpu"
        self.module = module.eval().to(self.device)

    def __call__(self, steps: Any) -> np.ndarray:
        if isinstance(steps, np.ndarray):
            if steps.ndim == 5:
                steps = np.moveaxis(steps, -1, 2).astype(np.float32) / 255
                steps = steps[:, 0] if steps.shape[1] == 1 else steps
            steps = self.torch.from_numpy(np.ascontiguousarray(steps)).to(self.device)
        with self.torch.inference_mode():
            found = self.module(steps).float().cpu().numpy()
        return np.moveaxis(found, 1, -1) if found.ndim == 4 else found


def weights_checksum(module: Any) -> str:
    """SHA-256 in hex over names and values of all of a torch module: equal if and only if the modules are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + b"\0" + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _source(module: str) -> str:
    """Beginning of the SHA-256 of the file of a module."""
    file = getattr(sys.modules[module], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12] if file else ""
