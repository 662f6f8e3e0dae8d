"""Extraction: from a folder of recordings, pictures and sentences to a feature store."""

from srcid.features.extraction.extract import Extracted, extract

__all__ = ["Extracted", "extract"]
