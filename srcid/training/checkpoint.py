"""Checkpoints: every tensor of a run in one safetensors file, everything else in a json that points to it.

The json is replaced only after the tensors are safely on disk, so that at any moment the folder holds one whole
checkpoint, whatever kills the process.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Module

from srcid.files import read_json, sealed, unsealed, whole_file
from srcid.problems import ProblemsError
from srcid.values import shorten

FORMAT = "srcid-checkpoint"
VERSION = 1
_POINTER = "latest.json"


class CheckpointError(ProblemsError):
    """A checkpoint that cannot be read; the message names the file and what is wrong with it."""


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint into ``folder`` and drop the previous one.

    Args:
        folder: created when absent.
        step: number of finished training steps.
        tensors: flat mapping of names to tensors.
        state: json-serialisable rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{step:09d}.safetensors"
    with whole_file(folder / name) as draft:
        held = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        save_file(held, draft, metadata={"step": str(step)})
        with draft.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    pointer = {
        "format": FORMAT,
        "version": VERSION,
        "step": step,
        "tensors": name,
        "sha256": digest,
        "state": state,
    }
    with whole_file(folder / _POINTER) as draft:
        draft.write_text(json.dumps(sealed(pointer), indent=1))
    # drafts of a killed process too, those of this file and those that safetensors makes of a draft
    for old in (*folder.glob("step-*"), *folder.glob(".step-*"), *folder.glob(f".{_POINTER}.*"), *folder.glob(".tmp*")):
        if old.name != name:
            old.unlink(missing_ok=True)


def exists(folder: Path) -> bool:
    """Whether ``folder`` holds a checkpoint."""
    return (folder / _POINTER).is_file()


def load(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
    """Return (step, tensors, state) of the checkpoint in ``folder``.

    Raises:
        CheckpointError: no checkpoint, an unknown format, or a damaged tensor file.
    """
    try:
        return _load(folder)
    except CheckpointError:
        time.sleep(0.1)
        return _load(folder)  # a run that goes on may have replaced it between two reads


def _load(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
    pointer_path = folder / _POINTER
    if not pointer_path.is_file():
        raise CheckpointError(f"found no checkpoint in {folder}; train first, or point to the folder of a trained run")
    try:
        pointer = unsealed(read_json(pointer_path))
        known = (pointer["format"], pointer["version"])
        path = folder / pointer["tensors"]
        step, digest, state = pointer["step"], pointer["sha256"], pointer["state"]
        if path.name != f"step-{step:09d}.safetensors" or path.parent != folder or not isinstance(state, dict):
            raise ValueError(f"step {step} in {pointer['tensors']}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{pointer_path} is damaged ({error!r}); delete the folder to start again") from error
    if known != (FORMAT, VERSION):
        raise CheckpointError(f"{pointer_path} has format {known}, this version reads {(FORMAT, VERSION)}")
    if not path.is_file():
        raise CheckpointError(f"{pointer_path} names {path.name}, which is not there; delete the folder to start again")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise CheckpointError(f"{path} is damaged (its checksum differs); delete the folder to start again")
    try:
        with safe_open(path, "pt") as held:
            own = (held.metadata() or {}).get("step", str(step))  # earlier versions did not write it
        if own != str(step):
            raise CheckpointError(f"{path} is of step {own}, not {step}; delete the folder to start again")
        return step, load_file(path), state
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


@contextmanager
def read_from(folder: Path) -> Iterator[None]:
    """Say that a checkpoint is damaged where what it holds does not fit into a model.

    Raises:
        CheckpointError: in place of whatever the code inside raises.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        why = shorten(" ".join(str(error).split()), 200)
        raise CheckpointError(
            f"{folder} is damaged: what it holds does not fit its model ({type(error).__name__}: {why}); delete the "
            "folder to start again"
        ) from None


def put(network: Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network the weights and codebooks of a checkpoint, which are all those with ``network.`` before the name.

    Raises:
        RuntimeError, ValueError: some are missing, have other shapes, or are not finite.
    """
    found = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    if bad := [name for name, value in found.items() if not torch.isfinite(value).all()]:
        raise ValueError(f"{len(bad)} tensors are not finite, first {bad[0]}")
    network.load_state_dict(found)


def flatten_optimizer(prefix: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of an optimiser's ``state_dict`` under flat names."""
    return {f"{prefix}.{index}.{name}": value for index, slot in state["state"].items() for name, value in slot.items()}


def restore_optimizer(prefix: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``state`` (of a fresh optimiser) with the slots saved by :func:`flatten_optimizer`."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(f"{prefix}."):
            index, slot = name.removeprefix(f"{prefix}.").split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
    return {**state, "state": slots}
