"""Fixtures shared by the tests of all packages."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.notebook_maker import make_notebook

pytest.register_assert_rewrite("tests.house")


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Ctrl-C works in tests and what they start, also where a shell began them in the background and ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _media_of_tests(tmp_path_factory) -> None:
    """Tests make their own media, below their own folder: it is trusted, as a user trusts a folder."""
    os.environ["SRCID_MEDIA"] = str(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder whose data/ holds real sample files, which may not be handed on: beside the project or at SRCID_SHARED.

    Tests of the real recordings and lists are skipped where there is none; data/README.md says where they are from.
    """
    given = os.environ.get("SRCID_SHARED")
    folder = Path(given or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "data").is_dir():
        message = f"real recordings and lists are not here: found no {folder}/data; SRCID_SHARED says where they are"
        (pytest.fail if given else pytest.skip)(message)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project folder of its own, in which the test works; modules that run notebooks use it in every test."""
    for name in ("SRCID_RUN", "SRCID_RUNS", "SRCID_HEADLESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SRCID_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(project) -> Path:
    """A notebook that prints one parameter."""
    return make_notebook(project / "notebooks" / "tiny.ipynb", "print(count)")


@pytest.fixture(scope="session")
def code_tables(tmp_path_factory) -> dict:
    """What a network with each quantiser says of one small store: two layers, two stages where there are stages."""
    from tests.helpers import tiny_store, tiny_table

    folder = tmp_path_factory.mktemp("tables")
    store = tiny_store(folder / "store", grid=False)
    kinds = ("vq", "rvq", "fsq", "identity")
    return {kind: tiny_table(store, folder / kind, quantizer=kind, layers=2, stages=2) for kind in kinds}


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, headless, driven by Playwright: one for all tests, as a process bears no second."""
    chromium = shutil.which("chromium")
    if chromium is None:
        message = "no chromium; run apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        message = "no playwright; run ./lab install browser"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, headless=True, args=flags)
        yield browser
        browser.close()
