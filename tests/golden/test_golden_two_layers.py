"""The authors' public two-layer network at small width: values, gradients and one training step, to 1e-10."""

import pytest
import torch
from torch import nn

from srcid.model.encoders import decoder, specific_encoder
from srcid.model.network import SRCID, SemanticResidualLayer
from srcid.params import resolve
from tests.golden.test_golden_networks import close, fill
from tests.helpers import reference_tensors

MODALITIES = ("audio", "video", "text")
LAYERS = ("first", "second")


def published_network(values) -> SRCID:
    """The preset at the widths of the file; the reference gives each modality a specific width of its own."""
    size, dim = values["embedding_0"].shape[1:]
    shapes = {m: tuple(values[f"in_{m}"].shape[2:]) for m in MODALITIES}
    hidden = values["w_enc__Video_encoder__conv_stack__0__weight"].shape[0]
    channels = values["first_specific_video"].shape[-1]
    pooled = values["first_pooled_video"].shape[-1]
    wide = values["w_enc__audio_self_att__encoder__layers__0__linear1__bias"].shape[0]
    p = resolve(
        "published-two-layer", dim=dim, codebook_size=size, heads=4, feedforward=wide / dim, lstm_modalities=(),
        grid_channels=(hidden, channels), pooled_dim=pooled, club_weight=0.0, cpc_weight=0.0, ema_repeats=1,
    )  # fmt: skip
    net = SRCID(shapes, p).double()
    first = net.layers[0]
    for m in ("audio", "text"):
        first.specific[m] = specific_encoder(shapes[m], p, values[f"first_specific_{m}"].shape[-1])
        first.decoder[m] = decoder(shapes[m], first.specific[m], p)
    widths = {m: (first.specific[m].width,) for m in MODALITIES}
    net.layers[1] = SemanticResidualLayer(widths, p, 2).double()
    block, undo = "Video_encoder__conv_stack__5__stack__0__res_block", "Video_decoder__inverse_conv_block"
    names = {"first": "Video_encoder__conv_stack__0", "second": "Video_encoder__conv_stack__2"}
    names |= {"mix": "Video_encoder__conv_stack__4", "residual.spread": f"{block}__1", "residual.mix": f"{block}__3"}
    names |= {"head.0": "Video_encoder__feed_forward__0", "head.2": "Video_encoder__feed_forward__2"}
    load(first.specific["video"], values, names)
    last = f"w_dec__{undo}__4"
    values["w_dec__last__weight"], values["w_dec__last__bias"] = (
        values[f"{last}__weight"][..., 0, 0].T,
        values[f"{last}__bias"],
    )
    names = {"code": "Video_decoder__video_linear", "second": f"{undo}__0", "first": f"{undo}__2", "mix": "last"}
    names |= {f"residual.{part}": f"{undo}__1__stack__0__res_block__{i}" for part, i in (("spread", 1), ("mix", 3))}
    load(first.decoder["video"], values, names, "w_dec__")
    pool = "video_semantic_encoder"
    names = {"gate.0": f"{pool}__se_layer__0", "gate.2": f"{pool}__se_layer__2", "guide": f"{pool}__affine_video_ave"}
    names |= {"cell": f"{pool}__affine_video_self", "score": f"{pool}__ave_v_att"}
    load(first.general["video"].pooling, values, names)
    for m in MODALITIES:
        load_transformer(first.general[m] if m != "video" else first.general[m].temporal, values, f"{m}_self_att")
        load_transformer(net.layers[1].general[m], values, f"{m}_self_att_2")
        load(net.layers[1].specific[m], values, {"linear": f"{m.capitalize()}_encoder_2__input_linear"})
        back = f"{m.capitalize()}_decoder_2__simple"
        load(net.layers[1].decoder[m], values, {"code": f"{back}_linear", "output": f"{back}_rec"}, "w_dec__")
        if m != "video":
            load(first.specific[m], values, {"linear": f"{m.capitalize()}_encoder__{m}_linear"})
            back = f"{m.capitalize()}_decoder__{m}"
            load(first.decoder[m], values, {"code": f"{back}_linear", "output": f"{back}_rec"}, "w_dec__")
    for k, layer in enumerate(net.layers):
        for name, key in STATE.items():
            buffer = getattr(layer.quantizer, name)
            buffer.copy_(values[f"{key}_0"][k].to(buffer.dtype))
    return net.eval()


STATE = {"codebook": "embedding", "counts": "ema_count", "sums": "ema_weight", "idle": "unactivated_count"}


def load(module: nn.Module, values, names: dict[str, str], prefix: str = "w_enc__") -> None:
    fill(module, values, {part: prefix + reference for part, reference in names.items()})


def load_transformer(module: nn.Module, values, name: str) -> None:
    parts = ("self_attn", "self_attn.out_proj", "linear1", "linear2", "norm1", "norm2")
    names = {
        f"layers.{i}.{part}": f"{name}__encoder__layers__{i}__{part}".replace(".", "__")
        for i in (0, 1)
        for part in parts
    }
    load(module, values, names | {"linear": f"{name}__affine_matrix"})


@pytest.mark.parametrize("name", ["two_layer_network", "two_layer_network_b"])
def test_the_public_two_layer_network_is_reproduced(name):
    values = reference_tensors(name)
    net = published_network(values)
    inputs = {m: values[f"in_{m}"].clone().requires_grad_() for m in MODALITIES}
    outputs = net(inputs)
    total, parts = net.losses(outputs)
    close(outputs[0].specific["video"], values["first_pooled_video"])
    for k, (layer, output) in enumerate(zip(LAYERS, outputs, strict=True), 1):
        for m in MODALITIES:
            close(output.general[m], values[f"{layer}_general_{m}"])
            if (layer, m) != ("first", "video"):
                close(output.specific[m], values[f"{layer}_specific_{m}"])
            assert torch.equal(output.quantized.codes[m].flatten(), values[f"{layer}_indices_{m}"])
            close(output.quantized.quantized[m], values[f"{layer}_quantized_{m}"])
            close(output.reconstruction[m], values[f"{layer}_recon_{m}"])
            close(parts[f"recon/{k}/{m}"], values[f"{layer}_mse_{m}"])
            close(parts[f"commit/{k}/{m}"], values[f"{layer}_commit_{m}"])
    close(total, values["weighted_total"])
    plain = sum(value for key, value in parts.items() if key.startswith("recon"))
    second = sum(value for key, value in parts.items() if key.startswith("recon/2"))
    grads = [torch.autograd.grad(loss, list(inputs.values()), retain_graph=True) for loss in (plain, total)]
    by_u = torch.autograd.grad(second, list(outputs[0].specific.values()), retain_graph=True)
    for m, recon, weighted, u in zip(MODALITIES, *grads, by_u, strict=True):
        close(recon, values[f"grad_recon_in_{m}"])
        close(weighted, values[f"grad_weighted_in_{m}"])
        close(u, values[f"grad_second_mse_u_{m}"])
    head = net.layers[0].specific["video"].head[2].weight
    close(torch.autograd.grad(plain, head)[0], values["grad_recon_w_enc__Video_encoder__feed_forward__2__weight"])


@pytest.mark.parametrize("name", ["two_layer_network", "two_layer_network_b"])
def test_one_training_step_moves_both_codebooks_as_published(name):
    values = reference_tensors(name)
    net = published_network(values).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            module.p = module.dropout = 0.0
    net({m: values[f"in_{m}"] for m in MODALITIES})
    for k, layer in enumerate(net.layers):
        for buffer, key in STATE.items():
            close(getattr(layer.quantizer, buffer).double(), values[f"{key}_1"][k].double())
