"""Published features and lists of the literature, made into feature stores: ``python -m srcid convert``.

``data/README.md`` says what to download for each layout. One file a family of lists: :mod:`vggsound`, :mod:`ave`
and :mod:`captions` say which rows a store is to have (:class:`Plan`); :func:`convert` reads and writes their features.
"""

from srcid.features.published.archives import Found, Sentences, SourceError
from srcid.features.published.conversion_audit import ConversionAudit
from srcid.features.published.convert import DTYPES, LAYOUTS, Converted, convert
from srcid.features.published.lists import Events, avvp_events, event_seconds
from srcid.features.published.plan import Plan
from srcid.features.published.unpickle import PickleRefused, load_arrays

__all__ = [
    "DTYPES",
    "LAYOUTS",
    "ConversionAudit",
    "Converted",
    "Events",
    "Found",
    "PickleRefused",
    "Plan",
    "Sentences",
    "SourceError",
    "avvp_events",
    "convert",
    "event_seconds",
    "load_arrays",
]
