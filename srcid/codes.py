"""CodeTable: what a trained model says of a store, on disk. All inspection and scoring reads this, never the model.

A folder of plain NumPy arrays and a manifest; opening it maps them into memory and needs no torch::

    manifest.json            format, shapes, parameters, origin; size and checksums of every array
    arrays-3f29c0a1b2d4/     the arrays, named after their content

The manifest is replaced only when all arrays it names are on disk. At any moment a reader, or whoever comes after a
crash, finds the old table or the new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srcid.features import FeatureStore, LabelInfo
from srcid.files import code_version, differences, disk_errors, fingerprints, reserved_array, whole_file
from srcid.params import describe
from srcid.problems import ProblemsError
from srcid.symbols import clip_rows, label_of, split_numbers

if TYPE_CHECKING:
    import pandas as pd

    from srcid.model.network import SRCID

FORMAT = "srcid-codes"
VERSION = 2
READABLE = (1, 2)  # version 1 keeps no distance of the second nearest code


class CodeTableError(ProblemsError):
    """A CodeTable that cannot be read, or does not hold what was asked for."""


_Name = Annotated[str, Field(pattern=r"^[^/\\\x00]{1,200}$")]  # part of the name of a file
_Count = Annotated[int, Field(ge=0, lt=2**40)]


class _Manifest(BaseModel):
    """What a manifest must say before any of its files is touched."""

    model_config = ConfigDict(strict=True)

    modalities: list[_Name] = Field(min_length=1)
    layers: int = Field(ge=1, le=64)
    stages: int = Field(ge=0, le=64)
    sizes: list[_Count]
    clips: _Count
    steps: _Count
    splits: list[_Name]
    labels: dict[_Name, dict[str, Any]]
    labelled: list[_Name] = []
    media: list[_Name]
    params: dict[str, Any]
    store: dict[str, str]
    arrays: str = Field("", pattern=r"^(arrays-[0-9a-f]{12})?$")
    files: dict[_Name, dict[str, int | str]] | None = None


@dataclass(frozen=True)
class CodeTable:
    """Codes, distances, codebooks, kept continuous features, and the labels of the clips they belong to.

    Attributes:
        path: the folder.
        manifest: its ``manifest.json``: format, shapes, parameters, where the features came from.
    """

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> CodeTable:
        """Open the table in ``path``, and compare sizes and samples of its files with its manifest.

        Raises:
            CodeTableError: there is none, it is damaged, or its format is not this version's.
        """
        table = cls._read(Path(path))
        while problems := differences(table.arrays, table.manifest.get("files") or {}):
            again = cls._read(Path(path))
            if again.manifest == table.manifest:
                raise CodeTableError(
                    f"the code table in {path} is damaged; delete the folder and encode again:", problems
                )
            table = again  # it was replaced just now
        return table

    @classmethod
    def _read(cls, path: Path) -> CodeTable:
        file = path / "manifest.json"
        if not file.is_file():
            raise CodeTableError(
                f"found no code table in {path}; train first (02_train), or point to a run's codes folder"
            )
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            known = (manifest["format"], manifest["version"])
            if known not in [(FORMAT, version) for version in READABLE]:
                raise CodeTableError(f"{file} has format {known}, this version reads {FORMAT} of version {READABLE}")
            _Manifest.model_validate(manifest)
        except ValidationError as error:
            raise CodeTableError(
                f"{file} is damaged; delete the folder and encode again:", describe(error, [])
            ) from None
        except CodeTableError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CodeTableError(f"{file} is damaged ({error!r}); delete the folder and encode again") from None
        return cls(path, manifest)

    def verify(self) -> None:
        """Compare every byte of the table with the checksums in its manifest.

        Raises:
            CodeTableError: something differs; all of it is named.
        """
        problems = differences(self.arrays, self.manifest.get("files") or {}, whole=True)
        CodeTableError.check(f"the code table in {self.path} is damaged; delete the folder and encode again:", problems)

    @property
    def arrays(self) -> Path:
        """Folder of the arrays: that of the table itself, in tables of earlier versions."""
        return self.path / self.manifest.get("arrays", "")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the encoded modalities."""
        return tuple(self.manifest["modalities"])

    @property
    def layers(self) -> int:
        """Number K of semantic-residual layers; layers count from 1."""
        return self.manifest["layers"]

    @property
    def stages(self) -> int:
        """Symbols S per step: 1 for vq, more for rvq stages or fsq dimensions, 0 for the identity quantiser."""
        return self.manifest["stages"]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of symbols of each stage."""
        return tuple(self.manifest["sizes"])

    @property
    def clips(self) -> int:
        """Number N of clips."""
        return self.manifest["clips"]

    @property
    def steps(self) -> int:
        """Number T of steps of a clip."""
        return self.manifest["steps"]

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the run."""
        return self.manifest["params"]

    @property
    def store_path(self) -> Path:
        """The feature store that was encoded."""
        return Path(self.manifest["store"]["path"])

    @property
    def checksum(self) -> str:
        """Checksum of that store."""
        return self.manifest["store"]["checksum"]

    @property
    def model(self) -> str:
        """SHA-256 of the weights that made the codes; empty in tables of earlier versions."""
        return self.manifest.get("model", "")

    @cached_property
    def ids(self) -> np.ndarray:
        """Clip names, ``[N]``."""
        return self._load("ids.npy")

    @cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """Row numbers of each split."""
        return {name: self._load(f"split_{name}.npy") for name in self.manifest["splits"]}

    @cached_property
    def label_info(self) -> dict[str, LabelInfo]:
        """Kind, level and class names of each label."""
        return {
            name: LabelInfo(**{k: tuple(v) if isinstance(v, list) else v for k, v in info.items()})
            for name, info in self.manifest["labels"].items()
        }

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Labels as in the store."""
        return {name: self._load(f"label_{name}.npy") for name in self.manifest["labels"]}

    @cached_property
    def labelled(self) -> dict[str, np.ndarray]:
        """Where a label is known, bool ``[N]`` or ``[N, T]``, of the labels whose store keeps such a mask."""
        return {name: self._load(f"labelled_{name}.npy") for name in self.manifest.get("labelled", ())}

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Valid steps of each modality, bool ``[N, T]``."""
        return {m: self._load(f"mask_{m}.npy") for m in self.modalities}

    @cached_property
    def media(self) -> dict[str, np.ndarray]:
        """Media references ``[N, T]`` of the modalities that have them."""
        return {m: self._load(f"media_{m}.npy") for m in self.manifest["media"]}

    def codes(self, layer: int, modality: str) -> np.ndarray:
        """Codes ``[N, T, S]`` int32; -1 at padded steps."""
        return self._array("codes", layer, modality)

    def code(self, layer: int, modality: str) -> np.ndarray:
        """One symbol per step, ``[N, T]`` int64, -1 at padded steps.

        With one stage it is the code itself. With more, each distinct combination that any modality uses in
        this layer gets a number, the same in all modalities.

        Raises:
            CodeTableError: the identity quantiser has no codes.
        """
        return self._joint(layer)[modality]

    def symbols(self, layer: int) -> int:
        """Number of symbols that :meth:`code` can take."""
        if self.stages == 1:
            return self.sizes[0]
        return 1 + max(int(code.max(initial=0)) for code in self._joint(layer).values())

    def distance(self, layer: int, modality: str) -> np.ndarray:
        """Distance of each general feature to its quantised value, ``[N, T]`` float32; NaN at padded steps."""
        return self._array("distance", layer, modality)

    def second(self, layer: int, modality: str) -> np.ndarray:
        """Second nearest code, ``[N, T]`` int32: of the first stage for rvq, in mixed radix for fsq; -1 for none."""
        return self._array("second", layer, modality)

    def nearest(self, layer: int, modality: str) -> np.ndarray:
        """Distances to the nearest and the second nearest code, ``[N, T, 2]`` float32, as the quantiser compares them.

        That is among features for vq, in the first stage for rvq, and among bounded values for fsq; infinite where
        there is no second code, NaN at padded steps.

        Raises:
            CodeTableError: a table of version 1, which keeps none.
        """
        return self._array("nearest", layer, modality)

    def margin(self, layer: int, modality: str) -> np.ndarray:
        """How clearly each code was chosen, 1 - d1 / d2, ``[N, T]`` float32 (Lowe 2004, section 7.1, of the ratio).

        0: the second nearest code is as near; 1: the feature lies on its code. NaN at padded steps.

        Raises:
            CodeTableError: as :meth:`nearest`.
        """
        first, second = np.moveaxis(np.asarray(self.nearest(layer, modality)), -1, 0)
        with np.errstate(invalid="ignore"):  # the identity quantiser has no code: infinite over infinite
            margin = 1 - np.divide(first, second, out=np.ones_like(first), where=second > 0)
        return np.where(np.isnan(first), np.float32("nan"), margin)

    def codebook(self, layer: int) -> np.ndarray | None:
        """Code vectors ``[stages, L, D]`` float32; None for quantisers without (identity, raw fsq)."""
        name = f"codebook_{self._check(layer)}.npy"
        return self._load(name) if self._keeps(name) else None

    def quantized(self, layer: int, modality: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Quantised features ``[n, T, D]`` float32 of the clips ``rows`` (all by default); zeros at padded steps."""
        rows = np.arange(self.clips) if rows is None else np.asarray(rows)
        book = self.codebook(layer)
        if book is None:
            return np.asarray(self._array("quantized", layer, modality)[rows])
        codes = self.codes(layer, modality)[rows]
        if book.shape[0] != codes.shape[-1]:  # fsq: one table over the product of all dimensions
            codes = np.where(codes < 0, 0, codes)
            codes = np.ravel_multi_index(tuple(np.moveaxis(codes, -1, 0)), self.sizes)[..., None]
        values = sum(book[s][codes[..., s]] for s in range(book.shape[0]))
        return np.where(self.masks[modality][rows][..., None], values, np.float32(0))

    def general(self, layer: int, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """The kept sample of general features before quantisation: (rows ``[n]``, values ``[n, T, D]``)."""
        return self._kept, self._array("general", layer, modality)

    def specific(self, layer: int, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """The kept sample of specific features: (rows ``[n]``, values ``[n, T, W]``)."""
        return self._kept, self._array("specific", layer, modality)

    def frame(self, label: str | None = None, clips: Any = None) -> pd.DataFrame:
        """Return all codes in long form, one row a clip, step, modality, layer and stage; padded steps are left out.

        Columns: ``split`` (missing: in none), ``clip`` (its id), ``row`` (in the table), ``step``, ``modality``,
        ``layer``, ``stage``, ``code``, ``distance`` (of the feature to its quantised value), ``second`` (the second
        nearest code) and ``margin``, both in the first stage only, and ``label``: the class at the step, or the classes
        that hold together; missing where it is unknown.

        Args:
            label: name of a label of the table; "event" or the first one by default.
            clips: split, rows, or None for all clips.

        Raises:
            CodeTableError: the identity quantiser has no codes; a table of version 1 keeps no margins.
            InspectionError: no such label or split.
        """
        import pandas as pd

        if self.stages == 0:
            raise CodeTableError("the identity quantiser has no codes; there is nothing to list")
        rows = clip_rows(self, clips)
        split = split_numbers(self)
        seen = label_of(self, label, rows) if label or self.labels else None
        names = np.array([*(seen.names if seen else ()), None], object)  # the last one is that of -1, unknown
        named = list(dict.fromkeys(names[:-1]))
        parts = []
        for layer, m in itertools.product(range(1, self.layers + 1), self.modalities):
            clip, step = np.nonzero(self.masks[m][rows])
            row = rows[clip]
            distance, margin, second = (
                np.asarray(read(layer, m))[row, step] for read in (self.distance, self.margin, self.second)
            )
            book = self.codebook(layer)
            if self.stages > 1 and (book is None or len(book) != self.stages):
                second = np.full_like(second, -1)  # it is one of all stages together
            for stage in range(self.stages):
                parts.append(pd.DataFrame({
                    "split": pd.Categorical.from_codes(split[row], list(self.splits)),
                    "clip": pd.Categorical.from_codes(row, self.ids),
                    "row": row,
                    "step": step,
                    "modality": pd.Categorical.from_codes(np.full(len(row), self.modalities.index(m)), self.modalities),
                    "layer": layer,
                    "stage": stage + 1,
                    "code": np.asarray(self.codes(layer, m))[row, step, stage],
                    "distance": distance,
                    "second": pd.arrays.IntegerArray(second, (second < 0) | (stage > 0)),
                    "margin": margin if stage == 0 else np.float32("nan"),
                    "label": pd.Categorical(names[seen.symbols[clip, step]] if seen else [None] * len(row), named),
                }))  # fmt: skip
        return pd.concat(parts, ignore_index=True)

    def to_parquet(self, folder: str | Path, label: str | None = None) -> list[Path]:
        """Write :meth:`frame` to ``folder``, one ``SPLIT.parquet`` a split, and return the files.

        ``datasets.load_dataset(folder)`` of Hugging Face reads them as its splits, ``pandas.read_parquet`` each. Files
        that are there are replaced; clips in no split are left out.

        Raises:
            CodeTableError, InspectionError: as :meth:`frame`.
            DiskError: nothing can be written there.
        """
        folder, files = Path(folder), []
        for split in self.splits:
            frame = self.frame(label, split)
            frame = frame.astype(dict.fromkeys(frame.select_dtypes("category"), "str"))  # datasets reads no others
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                with whole_file(folder / f"{split}.parquet") as draft:
                    frame.to_parquet(draft, index=False)
            files.append(folder / f"{split}.parquet")
        return files

    @cached_property
    def _kept(self) -> np.ndarray:
        return self._load("kept.npy")

    @cached_property
    def _joint_cache(self) -> dict[int, dict[str, np.ndarray]]:
        return {}

    def _joint(self, layer: int) -> dict[str, np.ndarray]:
        if self.stages == 0:
            raise CodeTableError("the identity quantiser has no codes; only continuous features can be shown")
        if layer not in self._joint_cache:
            codes = {m: np.asarray(self.codes(layer, m)) for m in self.modalities}
            if self.stages == 1:
                joint = {m: c[..., 0].astype(np.int64) for m, c in codes.items()}
            else:
                stacked = np.concatenate([c.reshape(-1, self.stages) for c in codes.values()])
                valid = (stacked >= 0).all(-1)
                numbers = np.full(len(stacked), -1, np.int64)
                numbers[valid] = np.unique(stacked[valid], axis=0, return_inverse=True)[1].ravel()
                joint = dict(zip(codes, numbers.reshape(len(codes), self.clips, self.steps), strict=True))
            self._joint_cache[layer] = joint
        return self._joint_cache[layer]

    def _check(self, layer: int, modality: str | None = None) -> int:
        if not 1 <= layer <= self.layers:
            raise CodeTableError(f"layer {layer} is not there; the table has layers 1 to {self.layers}")
        if modality is not None and modality not in self.modalities:
            raise CodeTableError(f"modality '{modality}' is not there; the table has {', '.join(self.modalities)}")
        return layer

    def _array(self, kind: str, layer: int, modality: str) -> np.ndarray:
        self._check(layer, modality)
        name = f"{kind}_{layer}_{modality}.npy"
        if not self._keeps(name):
            hints = dict.fromkeys(("general", "specific"), " features; train with keep_features above 0")
            hints["nearest"] = " distances; it was made by an earlier version: delete the folder and encode again"
            raise CodeTableError(f"{self.path} keeps no {kind}{hints.get(kind, '')} (layer {layer}, {modality})")
        if name not in self._mapped:
            self._mapped[name] = self._load(name, "r")
            if kind == "codes":
                self._check_codes(self._mapped[name], name)
        return self._mapped[name]

    @cached_property
    def _mapped(self) -> dict[str, np.ndarray]:
        return {}

    def _keeps(self, name: str) -> bool:
        files = self.manifest.get("files")  # tables of earlier versions do not tell
        return (self.arrays / name).is_file() if files is None else name in files

    def _load(self, name: str, mode: str | None = None) -> np.ndarray:
        try:
            return np.load(self.arrays / name, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            gone = isinstance(error, FileNotFoundError)
            why = "was replaced since it was opened; open it again" if gone else f"has a damaged file, {name} ({error})"
            raise CodeTableError(f"the code table in {self.path} {why}") from None

    def _check_codes(self, codes: np.ndarray, name: str) -> None:
        """Refuse codes that the codebooks do not have: every later index would be wrong."""
        wanted = (self.clips, self.steps, self.stages)
        problem = f"shape {codes.shape}, need {wanted}" if codes.shape != wanted else ""
        if not problem and codes.size:
            low, high = codes.min((0, 1)), codes.max((0, 1))
            if (low < -1).any() or (high >= self.sizes).any():
                problem = f"codes from {low.min()} to {high.max()}, need -1 (padding) to {max(self.sizes) - 1}"
        if problem:
            raise CodeTableError(
                f"{self.arrays / name} is damaged: it has {problem}; delete the folder and encode again"
            )


def encode(network: SRCID, store: FeatureStore, path: str | Path, batch_size: int = 200) -> CodeTable:
    """Return the table of what ``network`` says of every clip of ``store``, kept in ``path``.

    A table that is there, of the same weights, parameters, store and code, is returned as it is; another one is
    replaced once the new one is complete. Processes that encode into the same folder wait for each other.

    Args:
        network: trained; its parameters say in which mode codes are read out and how many clips keep their
            continuous features (a seeded sample when the store has more).
        store: may lack modalities that the network knows (evaluation-only stores); the others are encoded as they
            would be beside them.

    Raises:
        CodeTableError: the store's modalities or widths are not the network's; nothing has been written then.
        DiskError: the disk is full or cannot be written; a table that was there is as it was.
    """
    _check_store(network, store)
    path, weights = Path(path), weights_checksum(network)
    facts = {"params": network.params.model_dump(mode="json"), "batch_size": batch_size}
    if found := _current(path, store, weights, facts):
        return found
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / "encoding.lock"):
            if found := _current(path, store, weights, facts):  # made meanwhile by whom this process waited for
                return found
            for left in path.glob(".arrays-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            draft = path / f".arrays-{secrets.token_hex(4)}"
            draft.mkdir()
            try:
                manifest = _write_arrays(network, store, draft, batch_size) | facts | {"model": weights}
                manifest |= {"code": code_version(), "files": fingerprints(draft)}
                content = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
                manifest["arrays"] = f"arrays-{content[:12]}"
                shutil.rmtree(path / manifest["arrays"], ignore_errors=True)  # damaged, or it would have been taken
                draft.rename(path / manifest["arrays"])
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            with whole_file(path / "manifest.json") as file:
                file.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            for old in path.glob("arrays-*"):
                if old.name != manifest["arrays"]:
                    shutil.rmtree(old, ignore_errors=True)
    return CodeTable.open(path)


def _current(path: Path, store: FeatureStore, weights: str, facts: Mapping[str, Any]) -> CodeTable | None:
    """The table in ``path``, if encoding ``store`` by these weights and this code would only make it again."""
    try:
        table = CodeTable.open(path)
    except CodeTableError:
        return None
    said = table.manifest
    same = said.get("code") == code_version() and all(said.get(name) == value for name, value in facts.items())
    same &= table.checksum == store.checksum and said["store"]["path"] == os.fspath(store.path.resolve())
    return table if same and weights in ("", table.model) else None


def _write_arrays(network: SRCID, store: FeatureStore, folder: Path, batch_size: int) -> dict[str, Any]:
    """Encode every clip and write the arrays of its table to ``folder``; return what the manifest says of them."""
    import torch

    p = network.params
    first = next(network.parameters())
    draw = np.random.default_rng(p.seed)
    kept = np.sort(draw.permutation(store.clips)[: p.keep_features])
    place = np.full(store.clips, -1)
    place[kept] = np.arange(len(kept))
    books = [layer.quantizer.codebooks for layer in network.layers]
    writer = _Writer(folder, store, len(kept))

    network.train(p.encode_mode == "train")
    for layer in network.layers:
        layer.quantizer.eval()  # whatever the mode, reading never changes a codebook
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(p.seed)
        for rows, batch in store.batches(np.arange(store.clips), batch_size):
            inputs = {m: torch.from_numpy(x).to(first.device, first.dtype) for m, x in batch.items()}
            masks = {m: torch.from_numpy(store.masks[m][rows]).to(first.device) for m in inputs}
            for k, (layer, general, specific) in enumerate(network.encode(inputs, masks), 1):
                for m, z in general.items():
                    absent = ~masks[m]
                    quantizer = layer.quantizer.of(m)
                    codes = quantizer.encode(z)
                    values = z if codes.shape[-1] == 0 else quantizer.decode(codes)
                    nearest, second = quantizer.nearest(z, 2)
                    gap = (z - values).norm(dim=-1)
                    writer.put("codes", k, m, rows, codes.masked_fill(absent[..., None], -1), np.int32)
                    writer.put("distance", k, m, rows, gap.masked_fill(absent, torch.nan), np.float32)
                    writer.put("second", k, m, rows, second[..., 1].masked_fill(absent, -1), np.int32)
                    writer.put("nearest", k, m, rows, nearest.masked_fill(absent[..., None], torch.nan), np.float32)
                    if books[k - 1] is None:
                        writer.put("quantized", k, m, rows, values * masks[m][..., None], np.float32)
                    chosen = place[rows] >= 0
                    if chosen.any():
                        where = place[rows][chosen]
                        writer.put("general", k, m, where, z[chosen], np.float32)
                        if m in specific:
                            writer.put("specific", k, m, where, specific[m].draw()[chosen], np.float32)
    network.eval()
    for k, book in enumerate(books, 1):
        if book is not None:
            np.save(folder / f"codebook_{k}.npy", book.float().cpu().numpy())
    np.save(folder / "kept.npy", kept)
    return writer.finish(len(network.layers), network.layers[0].quantizer)


def weights_checksum(network: SRCID) -> str:
    """SHA-256 in hex over names and values of all weights and codebooks: equal if and only if the models are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + b"\0" + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def encode_once(
    load: Callable[[], SRCID], store: FeatureStore, path: str | Path, batch_size: int = 200, weights: str = ""
) -> CodeTable:
    """Return the table of ``store`` in ``path``, encoding it first unless it is there.

    Args:
        load: gives the network; not called where the table is there.
        weights: :attr:`CodeTable.model` of the network, where known: a table of other weights is made anew.

    Raises:
        CodeTableError: as :func:`encode`.
    """
    return _current(Path(path), store, weights, {"batch_size": batch_size}) or encode(load(), store, path, batch_size)


def _check_store(network: SRCID, store: FeatureStore) -> None:
    problems = []
    for m, shape in store.shapes.items():
        if m not in network.shapes:
            problems.append(f"modality '{m}' is unknown to the model, which knows {', '.join(network.shapes)}")
        elif tuple(shape) != tuple(network.shapes[m]):
            problems.append(
                f"features of another width than the model's: modality '{m}' has shape {tuple(shape)} a step, the "
                f"model was trained on {tuple(network.shapes[m])}"
            )
    CodeTableError.check("this store cannot be encoded:", problems)


class _Writer:
    """Creates each array at its first rows and fills it in place, so that memory stays bounded."""

    def __init__(self, folder: Path, store: FeatureStore, kept: int) -> None:
        self.folder, self.store, self.kept = folder, store, kept
        self.arrays: dict[str, np.ndarray] = {}

    def put(self, kind: str, layer: int, modality: str, rows: np.ndarray, values: Any, dtype: Any) -> None:
        values = values.cpu().numpy()
        name = f"{kind}_{layer}_{modality}"
        if name not in self.arrays:
            length = self.kept if kind in ("general", "specific") else self.store.clips
            shape = (length, *values.shape[1:])
            self.arrays[name] = reserved_array(self.folder / f"{name}.npy", dtype, shape)
        self.arrays[name][rows] = values

    def finish(self, layers: int, quantizer: Any) -> dict[str, Any]:
        store, folder = self.store, self.folder
        for array in self.arrays.values():
            array.flush()
        self.arrays.clear()
        np.save(folder / "ids.npy", store.ids)
        for name, rows in store.splits.items():
            np.save(folder / f"split_{name}.npy", rows)
        for name, values in store.labels.items():
            np.save(folder / f"label_{name}.npy", values)
        for name, mask in store.labelled.items():
            np.save(folder / f"labelled_{name}.npy", mask)
        for m in store.modalities:
            np.save(folder / f"mask_{m}.npy", store.masks[m])
        for m, references in store.media.items():
            np.save(folder / f"media_{m}.npy", references)
        return {
            "format": FORMAT,
            "version": VERSION,
            "modalities": list(store.modalities),
            "layers": layers,
            "stages": len(quantizer.sizes),
            "sizes": list(quantizer.sizes),
            "clips": store.clips,
            "steps": store.steps,
            "splits": list(store.splits),
            "labels": {name: vars(info) for name, info in store.label_info.items()},
            "labelled": list(store.labelled),
            "media": list(store.media),
            "store": {"path": os.fspath(store.path.resolve()), "checksum": store.checksum},
        }
