"""The encoders and decoders against the authors' at small width, float64, to 1e-10."""

import pytest
import torch
from torch import Tensor, nn

from srcid.model.convolution import Conv3x3
from srcid.model.encoders import GridPooling, LstmFrontend, TemporalEncoder, decoder, specific_encoder
from srcid.params import ModelParams
from tests.helpers import reference_tensors

SMALL = ModelParams(
    dim=20,
    heads=4,
    grid_channels=(12, 24),
    pooled_dim=16,
    grid_attention="sum",
    grid_encoder="conv",
    specific_norm="none",
    grid_specific="map",
)


def fill(module: nn.Module, values: dict[str, Tensor], names: dict[str, str]) -> None:
    """Fill all parameters of ``module``; ``names`` maps its parts to their reference names."""
    module.double()
    filled = set()
    with torch.no_grad():
        for path, reference in names.items():
            part = module.get_submodule(path)
            for name, parameter in part.named_parameters(recurse=False):
                value = values[f"{reference}__{name}"]
                if isinstance(part, Conv3x3) and name == "weight":
                    order = (2, 3, 0, 1) if part.transposed else (2, 3, 1, 0)  # taps first, then in, out
                    value = value.permute(order).flatten(0, 1)
                elif isinstance(part, nn.Linear) and value.ndim == 4:
                    value = value[..., 0, 0]  # a 1x1 convolution
                parameter.copy_(value)
                filled.add(f"{path}.{name}")
    assert filled == {name for name, _ in module.named_parameters()}


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_grid_specific_encoder():
    values = reference_tensors("net_video_encoder")
    encoder = specific_encoder((7, 7, 16), SMALL)
    block = "w_conv_stack__5__stack__0__res_block"
    names = {"first": "w_conv_stack__0", "second": "w_conv_stack__2", "mix": "w_conv_stack__4"}
    names |= {"residual.spread": f"{block}__1", "residual.mix": f"{block}__3"}
    fill(encoder, values, names | {"head.0": "w_feed_forward__0", "head.2": "w_feed_forward__2"})
    found = encoder(values["x"])
    close(found.full, values["result"])
    close(found.vector, values["club_feature"])


def test_grid_decoder():
    values = reference_tensors("net_video_decoder")
    back = decoder((7, 7, 16), specific_encoder((7, 7, 16), SMALL), SMALL)
    block = "w_inverse_conv_block__1__stack__0__res_block"
    names = {
        "code": "w_video_linear",
        "second": "w_inverse_conv_block__0",
        "first": "w_inverse_conv_block__2",
    }
    names |= {"residual.spread": f"{block}__1", "residual.mix": f"{block}__3"}
    # The reference ends in a transposed 1x1 convolution: [in, out] where a linear map has [out, in].
    values["last__weight"] = values["w_inverse_conv_block__4__weight"][..., 0, 0].T
    values["last__bias"] = values["w_inverse_conv_block__4__bias"]
    fill(back, values, names | {"mix": "last"})
    found = back(values["vq"], values["enc"])
    close(found, values["recon"])
    close(nn.functional.mse_loss(found, values["target"]), values["mse"])


def test_grid_pooling_as_published():
    values = reference_tensors("net_video_semantic")
    pooling = GridPooling(16, "sum")
    names = {"gate.0": "w_se_layer__0", "gate.2": "w_se_layer__2", "guide": "w_affine_video_ave"}
    fill(pooling, values, names | {"cell": "w_affine_video_self", "score": "w_ave_v_att"})
    close(pooling(values["x"]), values["out"])


@pytest.mark.parametrize("grad", [True, False])  # without gradients torch takes another path through the layers
def test_temporal_encoder(grad: bool):
    values = reference_tensors("net_temporal_eval")
    encoder = TemporalEncoder(12, 16, depth=2, heads=4, feedforward=1024, dropout=0.1)
    names = {"linear": "w_affine_matrix"}
    for layer in range(2):
        for part in ("self_attn", "self_attn.out_proj", "linear1", "linear2", "norm1", "norm2"):
            names[f"layers.{layer}.{part}"] = f"w_encoder__layers__{layer}__{part}".replace(".", "__")
    fill(encoder.eval(), values, names)
    with torch.set_grad_enabled(grad):
        close(encoder(values["x_TBD"].transpose(0, 1)), values["out_TBD"].transpose(0, 1))


def test_vector_encoder_and_decoder():
    values = reference_tensors("net_audio_codec")
    params = ModelParams(dim=8, heads=2, specific_dim=8, specific_norm="none")
    encoder = specific_encoder((6,), params)
    back = decoder((6,), encoder, params)
    fill(encoder, values, {"linear": "enc_audio_linear"})
    fill(back, values, {"code": "dec_audio_linear", "output": "dec_audio_rec"})
    found = encoder(values["x"])
    close(found.full, values["enc"])
    close(back(values["vq"], found.full), values["recon"])


def test_lstm_front_end():
    values = reference_tensors("net_text_lstm")
    frontend = LstmFrontend(12, 12).double()
    with torch.no_grad():
        for name, parameter in frontend.lstm.named_parameters():
            parameter.copy_(values[f"w_{name}"])
    close(frontend(values["x"]), values["out"])
    close(frontend(values["x"], torch.ones(3, 10, dtype=torch.bool)), values["out"])
