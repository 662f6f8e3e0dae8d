"""A store with something to hear, see and read, and its codes, for the tests of views; import the fixtures by name."""

import pytest

from tests.helpers import media_store, tiny_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def store(folder):
    return media_store(folder / "store")


@pytest.fixture(scope="module")
def table(store, folder):
    return tiny_table(store, folder / "codes")
