"""Extraction: from a folder of recordings, pictures and sentences to a feature store."""

from srcid.features.extraction.example import make_clips
from srcid.features.extraction.extract import Extracted, extract

__all__ = ["Extracted", "extract", "make_clips"]
