"""What a trained model says of one's own word, picture or sound: its codes, what they mean, and the nearest clips.

This is the one view that asks the model; what it shows of the model's clips is read from their code table.
"""

from __future__ import annotations

import html
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from srcid.codebook.exemplars import CodeIndex
from srcid.codes import CodeTable, encode
from srcid.features import FeatureStore
from srcid.features.own import own_front, read_picture, read_sound
from srcid.page import with_sounds
from srcid.problems import ProblemsError
from srcid.runs.folders import Run
from srcid.widget import Guard, View, listing

_SIDE = 8  # pixels of a drawing's side, as of scikit-learn's digits
_NEAREST = 4


class OwnInput(View):
    """Type a word, load a sound or a picture, draw a digit: its codes, what they mean, the nearest clips.

    Args:
        run: a finished training run on digits, stamps, or media extracted by front ends of this package.
        split: whose clips say what codes mean and are looked for; None for all.

    Raises:
        StoreError: the features of the run's data are not made here, or are gone.

    Attributes:
        widget: the view, for display.
        given: features of what was given last, by modality.
    """

    def __init__(self, run: Run, split: str | None = "test") -> None:
        import ipywidgets as w

        self.run, self.table = run, CodeTable.open(run.codes)
        self.front = own_front(FeatureStore.open(self.table.store_path, verify=False))
        self.index = CodeIndex(self.table, split if split in self.table.splits else None)
        self.given: dict[str, np.ndarray] = {}
        self.codes: CodeTable | None = None
        self._network: Any = None
        self._kept = tempfile.TemporaryDirectory(prefix="srcid-own-")
        hint = "a word, such as seven" if self.front.draws else "a word, or a few"
        self.word = w.Text(placeholder=hint, continuous_update=False)
        small = dict(layout=dict(width="26px", height="26px", margin="1px"))
        self.pixels = [
            w.ToggleButton(tooltip=f"row {i // _SIDE + 1}, column {i % _SIDE + 1}", **small) for i in range(_SIDE**2)
        ]
        self.draw = w.Button(description="ask of the drawing")
        self.clear = w.Button(description="clear")
        self.load = w.FileUpload(accept=".wav,image/*", description="sound or picture", layout=dict(width="170px"))
        self.guard, self.view = Guard(), w.HTML()
        grid = w.GridBox(self.pixels, layout=dict(grid_template_columns=f"repeat({_SIDE}, 28px)"))
        asked = w.VBox([self.word, self.load, w.HBox([self.draw, self.clear])])
        controls = w.HBox([grid, asked] if self.front.draws else [self.word, self.load])
        controls.layout.flex_flow = "row wrap"
        self.widget = w.VBox([controls, self.guard.message, self.view])
        self.guard.watch(lambda: self.ask(text=self.front.word(self.word.value)), self.word)
        self.guard.watch(self._load, self.load)
        self.draw.on_click(lambda _: self.guard(self._draw))
        self.clear.on_click(lambda _: self._clear())

    def figure(self) -> Any:
        """Return what is shown as HTML for display."""
        from IPython.display import HTML

        return HTML(self.view.value or "Nothing was asked yet.")

    def ask(self, **given: np.ndarray) -> None:
        """Encode a clip of the modalities ``given``, features as ``front`` makes them, and show it."""
        from srcid.training.loop import load

        self._network = self._network or load(self.run.folder)
        with tempfile.TemporaryDirectory(prefix="srcid-own-") as folder:
            store = FeatureStore.create(
                Path(folder) / "store", features={m: values[None] for m, values in given.items()},
                splits={"own": np.arange(1)}, evaluation_only=True,
            )  # fmt: skip
            self.codes, self.given = encode(self._network, store, Path(self._kept.name) / store.checksum[:12]), given
        self.view.value = self._told()

    def frame(self) -> Any:
        """Return a row a layer, modality and code of what was asked: steps, margin, and what the code means."""
        import pandas as pd

        rows = []
        for layer in self.index.layers if self.codes is not None else ():
            for m in self.codes.modalities:
                codes, margin = self.codes.code(layer, m)[0], self.codes.margin(layer, m)[0]
                for code, steps in zip(*np.unique(codes[codes >= 0], return_counts=True), strict=True):
                    card = self.index.look_up(layer, int(code), k=1, each=1)
                    sure = float(np.median(margin[codes == code]))
                    rows.append((layer, m, int(code), int(steps), sure, card.finding.partition(": ")[2]))
        rows.sort(key=lambda row: (row[0], -row[3]))
        return pd.DataFrame(rows, columns=["layer", "modality", "code", "steps", "margin", "the code means"])

    def nearest(self, modality: str) -> Any:
        """Return the clips whose codes in ``modality`` are nearest to what was asked, by the cosine of mean vectors.

        Raises:
            ProblemsError: nothing was asked yet.
        """
        import pandas as pd

        if self.codes is None:
            raise ProblemsError("nothing was asked yet: type a word, draw a digit or load a file")
        own = np.concatenate([
            np.mean([self.codes.quantized(layer, m)[0].mean(0) for m in self.codes.modalities], axis=0)
            for layer in self.index.layers
        ])  # fmt: skip
        rows = self.index.rows
        present = np.asarray(self.table.masks[modality], bool)[rows][..., None]
        theirs = np.concatenate(
            [(self.table.quantized(layer, modality, rows) * present).sum(1) for layer in self.index.layers], axis=-1
        )
        length = np.linalg.norm(theirs, axis=1) * np.linalg.norm(own)
        cosine = np.divide(theirs @ own, length, out=np.full(len(rows), -1.0), where=length > 0)
        best = np.argsort(-cosine, kind="stable")[:_NEAREST]
        return pd.DataFrame({"clip": rows[best], "id": np.asarray(self.table.ids)[rows[best]], "cosine": cosine[best]})

    def _told(self) -> str:
        from srcid.maps.figures.panels import place_media

        head = f"<b>Codes of your {' and '.join(self.given)}</b> ({html.escape(self.index.sample)} say what they mean)"
        parts = [head, listing(self.frame().round(2))]
        for m in self.table.modalities:
            if m in self.given:
                continue
            parts.append(f"<b>nearest clips by their {html.escape(m)}</b>")
            for row in self.nearest(m).itertuples():
                parts.append(
                    f"<div>cosine {row.cosine:.2f}</div>{place_media(self.table, row.clip, self._step(m, row.clip))}"
                )
        return with_sounds("".join(parts))

    def _step(self, modality: str, clip: int) -> int:
        """The first step of a clip whose layer-1 code is one of those that were given, or else that has any."""
        own = np.concatenate([self.codes.code(1, m)[0] for m in self.codes.modalities])
        codes = self.table.code(1, modality)[clip]
        return int(np.argmax(2 * (np.isin(codes, own) & (codes >= 0)) + (codes >= 0)))

    def _load(self) -> None:
        for file in self.load.value:
            content = bytes(file["content"])
            if str(file["name"]).lower().endswith(".wav"):
                self.ask(audio=self.front.sound(*read_sound(content, Path(self._kept.name))))
            else:
                self.ask(video=self.front.picture(read_picture(content)))

    def _draw(self) -> None:
        drawn = np.array([pixel.value for pixel in self.pixels], float).reshape(_SIDE, _SIDE)
        self.ask(video=self.front.picture(np.pad(drawn, 1)))

    def _clear(self) -> None:
        for pixel in self.pixels:
            pixel.value = False
