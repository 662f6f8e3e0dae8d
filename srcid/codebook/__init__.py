"""What codes are used for: counts, agreement between modalities, meaning, and the exemplars behind each code."""

from srcid.codebook.added_information import AddedInformation, added_information
from srcid.codebook.agreement import Agreement, Confusion, Pair, code_agreement, confusion, part_agreement
from srcid.codebook.cards import ClassShare, CodeCard, Companion, Exemplar, Match, Neighbour
from srcid.codebook.exemplars import CodeIndex
from srcid.codebook.meaning import Association, association
from srcid.codebook.usage import Sharing, Usage, code_usage, sharing

__all__ = [
    "AddedInformation", "Agreement", "Association", "ClassShare", "CodeCard", "CodeIndex", "Companion", "Confusion",
    "Exemplar", "Match", "Neighbour", "Pair", "Sharing", "Usage", "added_information", "association",
    "code_agreement", "code_usage", "confusion", "part_agreement", "sharing",
]  # fmt: skip
