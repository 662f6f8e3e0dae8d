"""A matrix product whose last bits are the same on a machine, however many threads it may use."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b``, computed on one thread.

    With several, BLAS adds up in an order that depends on their number, so that the same data made in a sweep and by
    hand would have other checksums, and runs on them could not be compared.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        return a @ b
