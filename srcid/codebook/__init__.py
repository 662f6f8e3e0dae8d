"""What codes are used for: counts, agreement between modalities, meaning, and the exemplars behind each code."""

from srcid.codebook.added_information import AddedInformation, added_information
from srcid.codebook.agreement import Agreement, Confusion, Pair, code_agreement, confusion, part_agreement
from srcid.codebook.cards import ClassShare, CodeCard, Companion, Exemplar, Match, Neighbour
from srcid.codebook.exemplars import CodeIndex
from srcid.codebook.meaning import Association, association
from srcid.codebook.usage import Growth, Sharing, Usage, code_usage, growth, sharing

__all__ = [
    "AddedInformation", "Agreement", "Association", "ClassShare", "CodeCard", "CodeIndex", "Companion", "Confusion",
    "Exemplar", "Growth", "Match", "Neighbour", "Pair", "Sharing", "Usage", "added_information", "association",
    "code_agreement", "code_usage", "confusion", "growth", "part_agreement", "sharing",
]  # fmt: skip
