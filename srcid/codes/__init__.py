"""Code tables: what a trained model says of a store, on disk. All inspection and scoring reads this, never the model.

A folder of plain NumPy arrays and a manifest; opening it maps them into memory and needs no torch::

    manifest.json            format, shapes, parameters, origin; size and checksums of every array
    arrays-3f29c0a1b2d4/     the arrays, named after their content

The manifest is replaced only when all arrays it names are on disk. At any moment a reader, or whoever comes after a
crash, finds the old table or the new one, never a mixture.
"""

from srcid.codes.encoding import encode, encode_once
from srcid.codes.manifest import FORMAT, VERSION, CodeTableError
from srcid.codes.table import CodeTable

__all__ = ["FORMAT", "VERSION", "CodeTable", "CodeTableError", "encode", "encode_once"]
