"""Checkpoints: every tensor of a run in one safetensors file, everything else in a json that points to it.

The json is replaced only after the tensors are safely on disk, so that at any moment the folder holds one whole
checkpoint, whatever kills the process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from srcid.files import whole_file

FORMAT = "srcid-checkpoint"
VERSION = 1
_POINTER = "latest.json"


class CheckpointError(ValueError):
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
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, draft)
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
        draft.write_text(json.dumps(pointer, indent=1))
    for old in (*folder.glob("step-*"), *folder.glob(".step-*")):  # drafts of a killed process too
        if old.name != name:
            old.unlink()


def exists(folder: Path) -> bool:
    """Whether ``folder`` holds a checkpoint."""
    return (folder / _POINTER).is_file()


def load(folder: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
    """Return (step, tensors, state) of the checkpoint in ``folder``.

    Raises:
        CheckpointError: no checkpoint, an unknown format, or a damaged tensor file.
    """
    pointer_path = folder / _POINTER
    if not pointer_path.is_file():
        raise CheckpointError(f"found no checkpoint in {folder}; train first, or point to the folder of a trained run")
    try:
        pointer = json.loads(pointer_path.read_text())
        known = (pointer["format"], pointer["version"])
        path = folder / pointer["tensors"]
        step, digest, state = pointer["step"], pointer["sha256"], pointer["state"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{pointer_path} is damaged ({error!r}); delete the folder to start again") from error
    if known != (FORMAT, VERSION):
        raise CheckpointError(f"{pointer_path} has format {known}, this version reads {(FORMAT, VERSION)}")
    if not path.is_file():
        raise CheckpointError(f"{pointer_path} names {path.name}, which is not there; delete the folder to start again")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise CheckpointError(f"{path} is damaged (its checksum differs); delete the folder to start again")
    try:
        return step, load_file(path), state
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


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
