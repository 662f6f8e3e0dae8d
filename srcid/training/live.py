"""A training to watch and stop while it runs.

Callbacks of widgets do not run while a cell computes. A training therefore runs in a thread, and the cell
that waits for it does so with ``await``, which lets the Stop button through (ipykernel 7.4 and later; with
older ones the kernel's interrupt button does the same).
"""

from __future__ import annotations

import asyncio
import html
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from srcid.values import duration
from srcid.widget import framed, has_front_end, redraw, retell

Metrics = Mapping[str, Any]
Trainer = Callable[..., Any]


class LiveTraining:
    """A training that can be watched and stopped.

    Where somebody can click, ``show()`` displays the curves with a Stop button and starts the training in a
    thread, and ``await finished()`` waits for it. Headless, ``finished()`` trains in the foreground and
    prints plain lines of progress.

    Args:
        trainer: ``trainer(store, params, folder, on_metrics=callable, stop=threading.Event)``, which returns
            a result with ``status`` ("finished" or "stopped"), ``step`` and ``steps``, as
            :func:`srcid.training.loop.train` does.
        store: the features; its ``modalities`` fix the colours.
        params: its ``epochs`` and ``layers`` are read here.
        folder: run folder.
        caption: shown below the curves.
        live: False for headless; None finds out by :func:`has_front_end`.
        refresh: least seconds between two drawings. Drawing is kept below a tenth of the time.
    """

    def __init__(
        self,
        trainer: Trainer,
        store: Any,
        params: Any,
        folder: str | Path,
        caption: str = "",
        live: bool | None = None,
        refresh: float = 1.5,
    ) -> None:
        self._train = lambda: trainer(store, params, folder, on_metrics=self._on_metrics, stop=self._stop)
        self.modalities, self.layers, self.epochs = tuple(store.modalities), params.layers, params.epochs
        self.caption, self.refresh = caption, refresh
        self.live = has_front_end() if live is None else live
        self.metrics: list[Metrics] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._report = 0.0  # time (live) of the next drawing, or progress (headless) of the next line
        self.widget = self._build() if self.live else None

    def figure(self) -> Any:
        """Return the curves so far as a static figure."""
        from srcid.training.figures import training_curves

        return training_curves(list(self.metrics), self.modalities, self.layers, caption=self.caption)

    def show(self) -> None:
        """Display the live view and start training; headless, do nothing."""
        if self.widget is not None:
            from IPython.display import display

            display(self.widget)
            self.start()

    def start(self) -> None:
        """Start training in a thread, if it has not been started."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="training", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the training to end after the step in progress; it leaves a checkpoint to go on from."""
        self._stop.set()
        self._say("stopping after the step in progress …")

    async def finished(self) -> Any:
        """Wait without blocking the widgets, and return the trainer's result.

        Interrupting the kernel stops the training too.

        Raises:
            Exception: whatever the trainer raised, for instance ``TrainingError``.
        """
        if not self.live:
            return self.wait()
        self.start()
        try:
            while self._thread.is_alive():
                await asyncio.sleep(0.1)
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.stop()
            self._thread.join()
            raise
        return self._outcome()

    def wait(self) -> Any:
        """Wait and return the trainer's result; headless, this is where the training runs.

        Raises:
            Exception: whatever the trainer raised.
        """
        if self._thread is not None or self.live:
            self.start()
            self._thread.join()
        elif self.result is None and self.error is None:
            self._run()
        return self._outcome()

    def _outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result

    def _run(self) -> None:
        try:
            self.result = self._train()
        except BaseException as error:  # a thread's exception would be lost: keep it for whoever waits
            self.error = error
        self._end()

    def _on_metrics(self, line: Metrics) -> None:
        self.metrics.append(line)
        if self.live:
            now = time.monotonic()
            if now >= self._report:
                self._draw()
                self._report = time.monotonic() + max(self.refresh, 9 * (time.monotonic() - now))
        elif line.get("epoch", 0) / self.epochs >= self._report and "loss/total" in line:
            print(self.progress(), flush=True)
            self._report = (int(20 * line["epoch"] / self.epochs) + 1) / 20

    def progress(self) -> str:
        """Return where the training stands, with the time left, in one line."""
        line = next((line for line in reversed(self.metrics) if "loss/total" in line), None)
        if line is None:
            return "preparing …"
        done = line.get("epoch", 0)
        left = line.get("seconds", 0) / done * (self.epochs - done) if done else 0
        speed = f", {line['clips_per_second']:.0f} clips/s" if "clips_per_second" in line else ""
        opened = (
            f", {line['layers_open']} of {self.layers} layers open" if self.layers > 1 and "layers_open" in line else ""
        )
        return (
            f"epoch {done:.1f} of {self.epochs}, step {line['step']}: loss {line['loss/total']:.4g}"
            f"{speed}{opened}, {duration(left)} left"
        )

    def _build(self) -> Any:
        import ipywidgets
        import plotly.graph_objects as go

        self._button = ipywidgets.Button(
            description="Stop", icon="stop", tooltip="end after the step in progress; the run can be resumed"
        )
        self._button.on_click(lambda _: self.stop())
        self._bar = ipywidgets.FloatProgress(min=0, max=1, layout=dict(width="100px"))
        self._state = ipywidgets.HTML("preparing …")
        self._curves = go.FigureWidget()
        line = ipywidgets.HBox([self._button, self._bar, self._state], layout=dict(align_items="center"))
        view = framed(self._curves)
        redraw(self._curves, self.figure())
        return ipywidgets.VBox([line, view])

    def _say(self, text: str, error: bool = False) -> None:
        if self.widget is not None:
            style = "color:#D55E00;white-space:pre-wrap" if error else ""
            self._state.value = f"<span style='{style}'>{html.escape(text)}</span>"

    def _draw(self) -> None:
        from srcid.training.figures import update_training_curves

        lines = list(self.metrics)
        with self._curves.batch_update():
            update_training_curves(self._curves, lines, self.modalities, self.layers, points=120)
        retell(self._curves)
        self._bar.value = min(1.0, lines[-1].get("epoch", 0) / self.epochs) if lines else 0
        if not self._stop.is_set():
            self._say(self.progress())

    def _end(self) -> None:
        """Say how the training ended."""
        if self.error is not None:
            text = f"{type(self.error).__name__}: {self.error}"
        elif self.result.status == "finished":
            text = f"finished after {self.result.steps} steps"
        else:
            text = (
                f"{self.result.status} at step {self.result.step} of {self.result.steps}; "
                "run the cell again to go on from there"
            )
        if not self.live:
            print(text, flush=True)
            return
        if self.metrics:
            self._draw()
        self._button.disabled = True
        self._bar.bar_style = "danger" if self.error else "success" if self.result.status == "finished" else "warning"
        self._say(text, error=self.error is not None)
