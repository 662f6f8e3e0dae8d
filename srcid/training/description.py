"""What a batch says about codes and features, for the log and the live view."""

from __future__ import annotations

from srcid.model.output import LayerOutput
from srcid.model.quantize import agreement, perplexity


def describe(outputs: list[LayerOutput]) -> dict[str, float]:
    """Return what a batch says about codes and features, named ``quantity/layer/modality``.

    Per modality: ``scale`` (root mean square) of the specific features, ``perplexity`` of the codes (of all stages
    together) and ``used``, the share of a stage's symbols that occur, averaged over stages. Per pair of modalities:
    ``agreement``, the share of clip-steps with equal codes.
    """
    found: dict[str, float] = {}
    for k, output in enumerate(outputs, 1):
        codes, masks, sizes = output.quantized.codes, output.masks or {}, output.quantized.sizes
        for m, specific in output.specific.items():
            valid = specific.detach()[masks[m]] if m in masks else specific.detach()
            if len(valid):
                found[f"scale/{k}/{m}"] = float(valid.square().mean().sqrt())
        if not sizes:  # the identity quantiser
            continue
        for i, m in enumerate(codes):
            valid = codes[m].flatten(0, 1)
            valid = valid[(valid >= 0).all(-1)]
            if not len(valid):  # a modality that this batch lacks has no codes to describe
                continue
            together = valid.unique(dim=0, return_inverse=True)[1]
            found[f"perplexity/{k}/{m}"] = float(perplexity(together, len(valid)))
            used = [len(valid[:, s].unique()) / size for s, size in enumerate(sizes)]
            found[f"used/{k}/{m}"] = sum(used) / len(used)
            for n in list(codes)[i + 1 :]:
                both = masks[m] & masks[n] if m in masks and n in masks else None
                if both is not None and not both.any():
                    continue
                found[f"agreement/{k}/{m}-{n}"] = float(agreement(codes[m], codes[n], both))
    return found
