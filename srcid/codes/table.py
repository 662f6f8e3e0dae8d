"""CodeTable: what a trained model says of a store, on disk. All inspection and scoring reads this, never the model."""

from __future__ import annotations

import itertools
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srcid.codes.manifest import CodeTableError, misfit, table_manifest
from srcid.features import LabelInfo
from srcid.files import differences, disk_errors, mapped, whole_file, write_json
from srcid.symbols import clip_rows, joint_symbols, label_of, mixed_radix, split_numbers

if TYPE_CHECKING:
    import pandas as pd


class CodeTable:
    """Codes, distances, codebooks, kept continuous features, and the labels of the clips they belong to.

    Attributes:
        path: the folder.
        manifest: its ``manifest.json``: format, shapes, parameters, where the features came from.
        arrays: folder of the arrays: that of the table itself, in tables of earlier versions.
        modalities: names of the encoded modalities.
        layers: number K of semantic-residual layers; layers count from 1.
        stages: symbols S per step: 1 for vq, more for rvq stages or fsq dimensions, 0 for the identity quantiser.
        sizes: number of symbols of each stage.
        clips, steps: numbers N of clips and T of steps of a clip.
        params: the parameters of the run.
        store_path, checksum: the feature store that was encoded, and its checksum.
        model: SHA-256 of the weights that made the codes; empty in tables of earlier versions.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        self.arrays = path / manifest.get("arrays", "")
        self.modalities: tuple[str, ...] = tuple(manifest["modalities"])
        self.layers: int = manifest["layers"]
        self.stages: int = manifest["stages"]
        self.sizes: tuple[int, ...] = tuple(manifest["sizes"])
        self.clips: int = manifest["clips"]
        self.steps: int = manifest["steps"]
        self.params: dict[str, Any] = manifest["params"]
        self.store_path = Path(manifest["store"]["path"])
        self.checksum: str = manifest["store"]["checksum"]
        self.model: str = manifest.get("model", "")

    @classmethod
    def open(cls, path: str | Path) -> CodeTable:
        """Open the table in ``path``, and compare sizes and samples of its files with its manifest.

        Raises:
            CodeTableError: there is none, it is damaged, or its format is not this version's.
        """
        table = cls(Path(path), table_manifest(Path(path)))
        while problems := differences(table.arrays, table.manifest.get("files") or {}):
            again = cls(Path(path), table_manifest(Path(path)))
            if again.manifest == table.manifest:
                raise CodeTableError(
                    f"the code table in {path} is damaged; delete the folder and encode again:", problems
                )
            table = again  # it was replaced just now
        return table

    def verify(self) -> None:
        """Compare every byte of the table with the checksums in its manifest.

        Raises:
            CodeTableError: something differs; all of it is named.
        """
        problems = differences(self.arrays, self.manifest.get("files") or {}, whole=True)
        CodeTableError.check(f"the code table in {self.path} is damaged; delete the folder and encode again:", problems)

    @cached_property
    def ids(self) -> np.ndarray:
        """Clip names, ``[N]``."""
        return self._load("ids.npy", "U", (self.clips,))

    @cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """Row numbers of each split."""
        return {
            name: self._load(f"split_{name}.npy", "i", (None,), high=self.clips) for name in self.manifest["splits"]
        }

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
        found = {}
        for name, info in self.label_info.items():
            axes = (self.clips, self.steps) if info.level == "step" else (self.clips,)
            kinds, width, low, high = {
                "multilabel": ("b", (len(info.classes),), 0, 0),
                "category": ("i", (), -1, len(info.classes)),
                "continuous": ("f", (len(info.classes) or None,), 0, 0),
            }[info.kind]
            found[name] = self._load(f"label_{name}.npy", kinds, (*axes, *width), low=low, high=high)
        return found

    @cached_property
    def labelled(self) -> dict[str, np.ndarray]:
        """Where a label is known, bool ``[N]`` or ``[N, T]``, of the labels whose store keeps such a mask."""
        return {
            name: self._load(f"labelled_{name}.npy", "b", self.labels[name].shape[:-1])
            for name in self.manifest.get("labelled", ())
        }

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """Valid steps of each modality, bool ``[N, T]``."""
        return {m: self._load(f"mask_{m}.npy", "b", (self.clips, self.steps)) for m in self.modalities}

    @cached_property
    def media(self) -> dict[str, np.ndarray]:
        """Media references ``[N, T]`` of the modalities that have them."""
        return {m: self._load(f"media_{m}.npy", "U", (self.clips, self.steps)) for m in self.manifest["media"]}

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
        if name not in self._held and self._keeps(name):
            self._held[name] = self._load(name, "f", (None, None, None))
        return self._held.get(name)

    def quantized(self, layer: int, modality: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Quantised features ``[n, T, D]`` float32 of the clips ``rows`` (all by default); zeros at padded steps."""
        rows = np.arange(self.clips) if rows is None else np.asarray(rows)
        book = self.codebook(layer)
        if book is None:
            return np.asarray(self._array("quantized", layer, modality)[rows])
        codes = self.codes(layer, modality)[rows]
        if book.shape[0] != codes.shape[-1]:  # fsq: one table over the product of all dimensions
            codes = mixed_radix(codes, self.sizes)[..., None]
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

        ``datasets.load_dataset(folder)`` of Hugging Face reads them as its splits, ``pandas.read_parquet`` each; the
        hidden ``.huggingface.yaml`` beside them says which file is which split, for names that are not train,
        validation or test. Files that are there are replaced; clips in no split are left out.

        Raises:
            CodeTableError, InspectionError: as :meth:`frame`.
            DiskError: nothing can be written there.
        """
        folder, files = Path(folder), {}
        for split in self.splits:
            frame = self.frame(label, split)
            frame = frame.astype(dict.fromkeys(frame.select_dtypes("category"), "str"))  # datasets reads no others
            name = re.sub(r"\W", "_", split)  # the names that it takes
            name += "_" * sum(name == other.rstrip("_") for other in ("all", *files))  # all is reserved
            files[name] = folder / f"{split}.parquet"
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                with whole_file(files[name]) as draft:
                    frame.to_parquet(draft, index=False)
        parts = [{"split": name, "path": file.name} for name, file in files.items()]
        with disk_errors(folder):  # JSON is YAML too
            write_json(folder / ".huggingface.yaml", {"configs": [{"config_name": "default", "data_files": parts}]})
        return [*files.values()]

    @cached_property
    def _kept(self) -> np.ndarray:
        return self._load("kept.npy", "i", (None,), high=self.clips)

    @cached_property
    def _joint_cache(self) -> dict[int, dict[str, np.ndarray]]:
        return {}

    def _joint(self, layer: int) -> dict[str, np.ndarray]:
        if self.stages == 0:
            raise CodeTableError("the identity quantiser has no codes; only continuous features can be shown")
        if layer not in self._joint_cache:
            joint = joint_symbols(np.stack([self.codes(layer, m) for m in self.modalities]))
            self._joint_cache[layer] = dict(zip(self.modalities, joint, strict=True))
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
        if name not in self._held:
            self._held[name] = self._load(name, *self._shape(kind), share=True)
            if kind == "codes":
                self._check_codes(self._held[name], name)
        return self._held[name]

    @cached_property
    def _held(self) -> dict[str, np.ndarray]:
        return {}

    def _keeps(self, name: str) -> bool:
        files = self.manifest.get("files")  # tables of earlier versions do not tell
        return (self.arrays / name).is_file() if files is None else name in files

    def _load(
        self, name: str, kinds: str, shape: tuple[int | None, ...], share: bool = False, low: int = 0, high: int = 0
    ) -> np.ndarray:
        array = self._read(name, share)
        if problem := misfit(array, kinds, shape, low, high):
            raise CodeTableError(f"{self.arrays / name} is damaged: {problem}; delete the folder and encode again")
        return array

    def _read(self, name: str, share: bool = False) -> np.ndarray:
        file = self.arrays / name
        try:
            return mapped(file) if share else np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            gone = isinstance(error, FileNotFoundError)
            why = "was replaced since it was opened; open it again" if gone else f"has a damaged file, {name} ({error})"
            raise CodeTableError(f"the code table in {self.path} {why}") from None

    def _shape(self, kind: str) -> tuple[str, tuple[int | None, ...]]:
        """Kind of type and shape of the arrays that each layer and modality has one of."""
        both = (self.clips, self.steps)
        return {
            "codes": ("i", (*both, self.stages)),
            "second": ("i", both),
            "distance": ("f", both),
            "nearest": ("f", (*both, 2)),
            "quantized": ("f", (*both, None)),
        }.get(kind) or ("f", (len(self._kept), self.steps, None))

    def _check_codes(self, codes: np.ndarray, name: str) -> None:
        """Refuse codes that the codebooks do not have: every later index would be wrong."""
        if codes.size:
            low, high = codes.min((0, 1)), codes.max((0, 1))
            if (low < -1).any() or (high >= self.sizes).any():
                problem = f"codes from {low.min()} to {high.max()}, need -1 (padding) to {max(self.sizes) - 1}"
                raise CodeTableError(
                    f"{self.arrays / name} is damaged: it has {problem}; delete the folder and encode again"
                )
