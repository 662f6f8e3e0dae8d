"""Features: stores on disk, generators of data, media behind them, and an audit.

:class:`FeatureStore` is what every later package reads; :func:`open_data` turns a name or a path into one.
"""

from srcid.features.audit import StoreAudit, audit
from srcid.features.checks import LabelInfo, StoreError
from srcid.features.digits import DigitsParams, make_digits
from srcid.features.source import DATA_SETS, open_data
from srcid.features.store import FeatureStore, batch_rows
from srcid.features.synthetic import SyntheticParams, make_synthetic
from srcid.features.writer import StoreWriter

__all__ = [
    "DATA_SETS",
    "DigitsParams",
    "FeatureStore",
    "LabelInfo",
    "StoreAudit",
    "StoreError",
    "StoreWriter",
    "SyntheticParams",
    "audit",
    "batch_rows",
    "make_digits",
    "make_synthetic",
    "open_data",
]
