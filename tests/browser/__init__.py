"""Tests in a real JupyterLab and a real browser."""

import pytest

pytest.register_assert_rewrite("tests.browser.steps")  # its assertions explain themselves, as those of tests do
