"""The model: encoders, quantisers, mutual-information bounds, alignment losses, and the network made of them.

Names are resolved on first use, so that importing the package alone costs nothing.
"""

from srcid.lazy import attach

_HOMES = {
    "alignment": ("CrossModalCPC", "code_matching_loss"),
    "encoders": ("LstmFrontend", "Specific", "decoder", "general_encoder", "specific_encoder"),
    "mutual_information": ("Club",),
    "network": ("SRCID", "LayerOutput", "SemanticResidualLayer"),
    "quantize": (
        "FiniteScalarQuantizer",
        "IdentityQuantizer",
        "Quantized",
        "Quantizer",
        "QuantizerError",
        "ResidualQuantizer",
        "VectorQuantizer",
        "agreement",
        "fsq_levels",
        "make_quantizer",
        "perplexity",
    ),
}

__getattr__, __dir__, __all__ = attach(__name__, _HOMES)
