"""A real JupyterLab and a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from srcid import runs
from tests.browser.steps import NOTEBOOKS, TINY_DATA, TINY_MODEL, place

TOKEN = "browser-test"
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # every cell in the page, whether scrolled to or not
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}


@dataclass
class Lab:
    """A running JupyterLab, whose root is ``folder``, and a browser.

    ``complaints`` are errors of the page and its console, ``foreign`` its requests to anywhere else. Screenshots go to
    the folder ``artefacts`` (SRCID_ARTEFACTS), for people to look at; where nobody asks for them, none are made.
    """

    url: str
    folder: Path
    artefacts: Path | None
    browser: object
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, name: str) -> object:
        """Open a notebook of the folder in a page of its own, the only one, and wait for its kernel."""
        for context in self.browser.contexts:  # a test that failed left its page, which would share the workspace
            context.close()
        self.complaints.clear()  # a page answers for itself
        self.foreign.clear()
        page = self.browser.new_page(viewport={"width": 1400, "height": 1000})
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("console", self._note_console)
        page.on("request", self._note_foreign)
        page.goto(f"{self.url}/lab/tree/{name}?token={TOKEN}&reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=45_000)
        page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=45_000,
        )
        return page

    def _note_console(self, message: object) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")

    def _note_foreign(self, request: object) -> None:
        if not request.url.startswith((self.url, "data:", "blob:", self.url.replace("http", "ws"))):
            self.foreign.append(request.url)

    def whole(self, page: object, name: str, part: int = 1800) -> None:
        """Keep screenshots of the whole notebook among the artefacts, ``part`` pixels each."""
        if self.artefacts is None:
            return
        height = page.evaluate(
            "() => [...document.querySelectorAll('.jp-Cell')].reduce((sum, c) => sum + c.offsetHeight, 0)"
        )
        page.set_viewport_size({"width": 1400, "height": min(height + 250, 12_000)})
        page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollTo(0, 0)")
        page.wait_for_timeout(1500)
        for number, top in enumerate(range(0, min(height + 250, 12_000), part), start=1):
            clip = {"x": 280, "y": top, "width": 1120, "height": part}
            page.screenshot(path=str(self.artefacts / f"{name}_{number}.png"), clip=clip)
        page.set_viewport_size({"width": 1400, "height": 1000})

    def picture(self, page: object, name: str) -> None:
        """Keep a screenshot of what is seen of a page among the artefacts."""
        if self.artefacts is not None:
            page.screenshot(path=str(self.artefacts / f"{name}.png"))


@dataclass(frozen=True)
class Inspected:
    """A small finished training run that the lab's kernels find, for notebooks that look into one."""

    lab: Lab
    run: runs.Run

    def open(self, name: str, **values: object) -> object:
        """Open a committed notebook in a page of its own, its parameters set to this run and ``values``."""
        return self.lab.open(place(self.lab, name, run=self.run.name, **values))


@pytest.fixture(scope="session")
def inspected(lab: Lab) -> Inspected:
    """A small finished run on synthetic data: three modalities, two layers, three classes, a finer factor."""
    return Inspected(lab, _finished_run(lab, data="synthetic", generator=TINY_DATA))


def _finished_run(lab: Lab, **values: object) -> runs.Run:
    """Train where the lab's kernels look for runs and data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRCID_RUNS", str(lab.folder.parent / "runs"))
        patch.setenv("SRCID_HOME", str(lab.folder))
        options = {**TINY_MODEL, "layers": 2, "epochs": 8, "warm_max": 0.3}
        return runs.execute(NOTEBOOKS / "02_train.ipynb", {**values, "options": options})


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[Lab]:
    """JupyterLab on a free port, with settings, runs and data in a scratch folder, and a browser."""
    folder = tmp_path_factory.mktemp("lab")
    artefacts = Path(os.environ["SRCID_ARTEFACTS"]) if os.environ.get("SRCID_ARTEFACTS") else None
    if artefacts is not None:
        artefacts.mkdir(parents=True, exist_ok=True)
    for name, content in _SETTINGS.items():
        file = folder / "config/lab/user-settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    root = folder / "work"
    root.mkdir()
    scratch = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "SRCID_RUNS": "runs",
        "SRCID_HOME": "work",
    }
    ours = ("SRCID_RUN", "SRCID_HEADLESS", "PLOTLY_RENDERER")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {key: str(folder / name) for key, name in scratch.items()}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"]
    log = (folder / "lab.log").open("w")
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=root)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(f"{url}/api/status?token={TOKEN}", server, folder / "lab.log")
        yield Lab(url, root, artefacts, browser)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def _wait_until_up(url: str, server: subprocess.Popen, log: Path, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
