"""The model: encoders, quantisers, mutual-information bounds, alignment losses, and the network made of them.

Names are resolved on first use, so that importing the package alone costs nothing.
"""

from importlib import import_module

_HOME = {
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
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE)


def __getattr__(name: str):
    if name not in _MODULE:
        raise AttributeError(f"module 'srcid.model' has no attribute '{name}'")
    return getattr(import_module(f"srcid.model.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
