"""Widgets wire a training thread or a store to figures; without a front end they do without."""

import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from srcid.features.browser import ClipBrowser
from srcid.features.clip_media import clip_media
from srcid.features.figures import clip_view
from srcid.training.live import LiveTraining, duration
from srcid.training.loop import train
from srcid.widget import has_front_end
from tests.helpers import tiny_params, tiny_store

STORE = SimpleNamespace(modalities=("first", "second"))
PARAMS = SimpleNamespace(epochs=4, layers=1)


class Trainer:
    """Reports lines at its own pace; may fail, and ends early when asked to stop."""

    def __init__(self, steps=8, pause=0.0, error=None):
        self.steps, self.pause, self.error = steps, pause, error
        self.threads, self.started = [], threading.Event()

    def __call__(self, store, params, folder, on_metrics, stop):
        self.threads.append(threading.current_thread())
        for step in range(1, self.steps + 1):
            if stop.is_set():
                return SimpleNamespace(status="stopped", step=step - 1, steps=self.steps)
            time.sleep(self.pause)
            on_metrics(
                {
                    "step": step,
                    "epoch": 4 * step / self.steps,
                    "seconds": float(step),
                    "loss/total": 10 / step,
                    "recon/1/first": 1.0 / step,
                    "recon/1/second": 2.0 / step,
                    "clips_per_second": 50.0,
                    "layers_open": 1,
                }
            )
            self.started.set()
            if self.error and step == 3:
                raise self.error
        return SimpleNamespace(status="finished", step=self.steps, steps=self.steps)


def watched(trainer, **options):
    return LiveTraining(trainer, STORE, PARAMS, "unused", live=True, refresh=0.0, **options)


def test_a_script_has_no_front_end():
    assert has_front_end() is False


def test_headless_training_runs_in_the_foreground_and_prints_plain_progress(capsys):
    trainer = Trainer()
    training = LiveTraining(trainer, STORE, PARAMS, "unused")
    training.show()  # nothing to show, nothing started
    assert not trainer.threads and training.widget is None
    result = asyncio.run(training.finished())
    assert result.status == "finished" and trainer.threads == [threading.current_thread()]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epoch 0.5 of 4, step 1: loss 10, 50 clips/s, 7 s left")
    assert lines[-1] == "finished after 8 steps"
    assert training.wait() is result and len(trainer.threads) == 1  # waiting again does not train again


def test_headless_progress_is_short_however_long_the_run(capsys):
    LiveTraining(Trainer(steps=1000), STORE, PARAMS, "unused").wait()
    assert 15 <= len(capsys.readouterr().out.splitlines()) <= 23


def test_headless_errors_reach_the_caller(capsys):
    training = LiveTraining(Trainer(error=ValueError("bad lr")), STORE, PARAMS, "unused")
    with pytest.raises(ValueError, match="bad lr"):
        training.wait()
    assert "ValueError: bad lr" in capsys.readouterr().out


def test_live_training_runs_in_a_thread_and_draws_its_curves():
    trainer = Trainer()
    training = watched(trainer)
    assert asyncio.run(training.finished()).status == "finished"
    assert trainer.threads != [threading.current_thread()]
    drawn = training._curves
    shown = [trace.to_plotly_json() for trace in drawn.data]
    for trace in shown:
        del trace["uid"]  # the widget's own
    assert shown == [trace.to_plotly_json() for trace in training.figure().data]
    assert drawn.layout.title.text.startswith("Step 8: loss 10 → 1.25")
    assert "finished after 8 steps" in training._state.value
    assert training._bar.value == 1 and training._bar.bar_style == "success" and training._button.disabled


def test_the_stop_button_stops():
    trainer = Trainer(steps=10_000, pause=0.005)
    training = watched(trainer)
    training.start()
    assert trainer.started.wait(20)
    training._button.click()
    result = training.wait()
    assert result.status == "stopped" and 0 < result.step < 10_000
    assert f"stopped at step {result.step} of 10000; run the cell again" in training._state.value
    assert not training._thread.is_alive()


def test_widgets_are_served_while_a_cell_awaits_the_training():
    training = watched(Trainer(steps=10_000, pause=0.005))

    async def cell():
        asyncio.get_running_loop().call_later(0.3, training._button.click)
        return await training.finished()

    assert asyncio.run(cell()).status == "stopped"


def test_interrupting_the_kernel_stops_the_training_and_the_cell():
    training = watched(Trainer(steps=10_000, pause=0.005))

    async def cell():
        task = asyncio.create_task(training.finished())
        await asyncio.sleep(0.3)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cell())
    assert training.result.status == "stopped" and not training._thread.is_alive()


def test_live_errors_are_shown_and_raised():
    training = watched(Trainer(error=RuntimeError("loss is <nan>")))
    with pytest.raises(RuntimeError, match="loss is <nan>"):
        training.wait()
    assert "RuntimeError: loss is &lt;nan&gt;" in training._state.value
    assert training._bar.bar_style == "danger" and len(training.metrics) == 3


def test_drawing_takes_a_small_share_of_the_time():
    training = LiveTraining(Trainer(steps=150, pause=0.005), STORE, PARAMS, "unused", live=True, refresh=0.0)
    spent = []
    draw = training._draw

    def timed():
        began = time.perf_counter()
        draw()
        spent.append(time.perf_counter() - began)

    training._draw = timed
    began = time.perf_counter()
    training.wait()
    # each drawing is followed by a pause of nine times its length; the last one, at the end, is unconditional
    assert sum(spent[:-2]) <= 0.2 * (time.perf_counter() - began)
    assert len(spent) < 60


def test_a_real_training_can_be_stopped_and_goes_on(tmp_path):
    store, params = tiny_store(tmp_path / "store"), tiny_params(epochs=6)
    first = LiveTraining(train, store, params, tmp_path / "run", live=True, refresh=0.0)
    report = first._on_metrics
    first._train = lambda: train(
        store,
        params,
        tmp_path / "run",
        on_metrics=lambda line: (report(line), first.stop()),
        stop=first._stop,
    )
    stopped = first.wait()
    assert stopped.status == "stopped" and 0 < stopped.step < stopped.steps
    second = LiveTraining(train, store, params, tmp_path / "run", live=True, refresh=0.0)
    finished = second.wait()
    assert finished.status == "finished" and finished.step == finished.steps == stopped.steps
    assert second.metrics[: len(first.metrics)] == first.metrics  # the earlier curves are replayed
    named = {trace.name for trace in second.figure().data if trace.x and trace.x != (None,)}
    assert {"all", *store.modalities, "validation"} <= named


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (-3, "0 s")]
)
def test_durations_read_naturally(seconds, text):
    assert duration(seconds) == text


# -- the clip browser


@pytest.fixture
def store(tmp_path):
    from scipy.io import wavfile

    wavfile.write(tmp_path / "beep.wav", 8000, np.ones(800, np.int16))
    media = np.full((40, 6), "", dtype="U20")
    media[1, 0], media[2, 0] = "wav:beep.wav", "wav:gone.wav"
    return tiny_store(tmp_path / "store", media={"first": media}, media_root=tmp_path)


def test_the_browser_shows_the_chosen_clip(store):
    browser = ClipBrowser(store, clip=0)
    assert browser.clip == 0 and len(browser.players.children) == 0
    assert browser.view.layout.width is None  # as wide as the page, its words around it, from the beginning
    browser.slider.value = 1
    expected = clip_view(store, 1, clip_media(store, 1))
    assert browser.view.layout.title.text == expected.layout.title.text
    assert len(browser.view.data) == len(expected.data)
    assert "<audio" in browser.players.children[0].value
    assert browser.view._config["showSendToCloud"] is False


def test_choosing_a_split_shows_its_first_clip(store):
    browser = ClipBrowser(store, clip=4)
    browser.split.value = "test"
    assert browser.clip == store.splits["test"][0]
    assert f"Clip {browser.clip} " in browser.view.layout.title.text
    assert browser.slider.max == len(store.splits["test"]) - 1


def test_errors_in_callbacks_are_seen(store):
    browser = ClipBrowser(store, clip=0)
    browser.slider.value = 2
    assert "gone.wav" in browser.guard.message.value and "Clip 2 " in browser.view.layout.title.text
    browser.slider.value = 3
    assert browser.guard.message.value == ""


def test_a_clip_outside_every_split_is_refused(store):
    with pytest.raises(ValueError, match="clip 400 is in no split; choose a row of train, val, test"):
        ClipBrowser(store, clip=400)
