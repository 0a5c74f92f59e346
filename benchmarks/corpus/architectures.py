"""Architectures that torch, timm and transformers have, exported with random weights from a fixed seed.

NAME-ts comes from the TorchScript exporter (opset 17), NAME-dy from the dynamo exporter (opset 20). A part -b of the
name says that the batch is dynamic, -bs that the sequence is, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import networks
import torch
import transformers
from spec import IMAGENET, VOCABULARY, fill, image, noise, sound, tokens
from torch import nn

OPSETS = {"ts": 17, "dy": 20}
_B, _BS = ("batch",), ("batch", "seq")


@dataclass(frozen=True)
class Architecture:
    """A network to export.

    Attributes:
        build: makes the network.
        inputs: the specification of each input, by name; see `samples`.
        outputs: names.
        exporters: "ts", "dy".
        dynamic: names of the first axes of every input, where they have no fixed size.
    """

    build: Callable[[], nn.Module]
    inputs: dict[str, dict[str, Any]]
    outputs: tuple[str, ...]
    exporters: tuple[str, ...] = ("ts", "dy")
    dynamic: tuple[str, ...] = ()


def torchvision() -> ModuleType:
    """torchvision beside a torch for the CPU: its wheel's operators are for CUDA and are not there to be described."""
    keep = torch.library.register_fake

    def lenient(name: Any, *more: Any, **options: Any) -> Any:
        missing = isinstance(name, str) and name.startswith("torchvision::")
        return (lambda function: function) if missing else keep(name, *more, **options)

    torch.library.register_fake = lenient
    try:
        import torchvision as found
    finally:
        torch.library.register_fake = keep
    return found


def _timm(name: str, *exporters: str, dynamic: tuple[str, ...] = ()) -> Architecture:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name)

    return Architecture(build, {"image": image(**IMAGENET)}, ("logits",), exporters, dynamic)


def _torchvision(name: str, *exporters: str) -> Architecture:
    return Architecture(
        lambda: getattr(torchvision().models, name)(), {"image": image(**IMAGENET)}, ("logits",), exporters
    )


def _transformers(
    name: str,
    config: Callable[[], Any],
    inputs: dict[str, dict[str, Any]],
    *exporters: str,
    outputs: tuple[str, ...] = ("logits",),
    attention: str | None = "eager",
    dynamic: tuple[str, ...] = (),
    **fixed: object,
) -> Architecture:
    def build() -> nn.Module:
        made = config()
        if attention is not None:
            made._attn_implementation = attention
        return networks.Keywords(getattr(transformers, name)(made), list(inputs), outputs, **fixed)

    return Architecture(build, inputs, outputs, exporters, dynamic)


def _config(name: str, **settings: Any) -> Callable[[], Any]:
    return lambda: getattr(transformers, f"{name}Config")(**settings)


def _detr() -> Any:
    backbone = transformers.ResNetConfig(
        embedding_size=32, hidden_sizes=[64, 128, 256, 512], depths=[2] * 4, layer_type="basic", out_features=["stage4"]
    )
    return transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=128,
        encoder_layers=3, decoder_layers=3, encoder_ffn_dim=512, decoder_ffn_dim=512, num_queries=50,
    )  # fmt: skip


def _clip() -> Any:
    both = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
    text = {**both, "vocab_size": VOCABULARY, "max_position_embeddings": 77, "eos_token_id": 2}
    return transformers.CLIPConfig(
        text_config=text, vision_config={**both, "image_size": 224, "patch_size": 32}, projection_dim=256
    )


def _whisper() -> nn.Module:
    config = transformers.WhisperConfig(
        vocab_size=VOCABULARY, d_model=256, encoder_layers=4, decoder_layers=4, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=1024, decoder_ffn_dim=1024, max_source_positions=300,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return transformers.WhisperForConditionalGeneration(config)


_PICTURE = {"pixel_values": image(**IMAGENET)}
_TEXT = {"input_ids": tokens(64), "attention_mask": fill(1, 1, 64)}
_BERT = _config(
    "Bert", vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
)
_1000 = {"num_labels": 1000}

MODELS = {
    "resnet50": _transformers(
        "ResNetForImageClassification", _config("ResNet", **_1000), _PICTURE, "ts", attention=None
    ),
    "resnet18-b": _timm("resnet18", "ts", "dy", dynamic=_B),
    "mobilenet_v1": _transformers(
        "MobileNetV1ForImageClassification", _config("MobileNetV1", **_1000), _PICTURE, "ts", "dy", attention=None
    ),
    "mobilenet_v2": _transformers(
        "MobileNetV2ForImageClassification", _config("MobileNetV2", **_1000), _PICTURE, "ts", attention=None
    ),
    "mobilenetv3_small": _timm("mobilenetv3_small_100", "ts", "dy"),
    "mobilenetv3_large-b": _timm("mobilenetv3_large_100", "dy", dynamic=_B),
    "efficientnet_b0": _transformers(
        "EfficientNetForImageClassification",
        _config("EfficientNet", **_1000, width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280),
        _PICTURE, "ts", attention=None,
    ),
    "shufflenet_v2": _torchvision("shufflenet_v2_x1_0", "ts", "dy"),
    "mobileone_s0": _timm("mobileone_s0", "ts"),
    "densenet121": _torchvision("densenet121", "ts"),
    "convnext_atto": _timm("convnext_atto", "ts", "dy"),
    "unet_small": Architecture(networks.UNet, {"image": image(128, **IMAGENET)}, ("mask",)),
    "edsr_x2-b": Architecture(
        networks.super_resolution, {"image": image(64, **IMAGENET)}, ("image_x2",), dynamic=_B
    ),
    "vit_tiny": _timm("vit_tiny_patch16_224", "ts", "dy"),
    "swin_micro": _transformers(
        "SwinForImageClassification",
        _config("Swin", **_1000, embed_dim=48, depths=[2, 2, 4, 2], num_heads=[2, 4, 8, 16]), _PICTURE, "ts", "dy",
    ),
    "segformer_b0": _transformers(
        "SegformerForSemanticSegmentation", _config("Segformer", num_labels=19),
        {"pixel_values": image(256, **IMAGENET)}, "ts", "dy",
    ),
    "mobilevit_xxs": _transformers(
        "MobileViTForImageClassification",
        _config(
            "MobileViT", **_1000, hidden_sizes=[64, 80, 96], neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320],
            expand_ratio=2.0,
        ),
        {"pixel_values": image(256, **IMAGENET)}, "ts", "dy",
    ),
    "detr_r18": _transformers(
        "DetrForObjectDetection", _detr, {"pixel_values": image(320, **IMAGENET)}, "ts", "dy",
        outputs=("logits", "pred_boxes"),
    ),
    "clip_small": _transformers(
        "CLIPModel", _clip, {"input_ids": tokens(77), **_PICTURE, "attention_mask": fill(1, 1, 77)}, "ts", "dy",
        outputs=("logits_per_image", "text_embeds", "image_embeds"),
    ),
    "bert_6l": _transformers("BertForSequenceClassification", _BERT, _TEXT, "ts", "dy"),
    "bert_6l-bs": _transformers(
        "BertForSequenceClassification", _BERT, _TEXT, "ts", "dy", attention="sdpa", dynamic=_BS
    ),
    "gpt2_6l": _transformers(
        "GPT2LMHeadModel", _config("GPT2", vocab_size=VOCABULARY, n_embd=384, n_layer=6, n_head=6), _TEXT, "ts", "dy",
        use_cache=False,
    ),
    "llama_tiny": _transformers(
        "LlamaForCausalLM",
        _config(
            "Llama", vocab_size=VOCABULARY, hidden_size=384, intermediate_size=1024, num_hidden_layers=4,
            num_attention_heads=6, num_key_value_heads=2,
        ),
        _TEXT, "ts", "dy", use_cache=False,
    ),
    "whisper_encoder": Architecture(
        lambda: networks.Keywords(_whisper().model.encoder, ["input_features"], ("last_hidden_state",)),
        {"input_features": noise(1, 80, 600, scale=0.5)}, ("last_hidden_state",),
    ),
    "whisper_decoder": Architecture(
        lambda: networks.SpeechDecoder(_whisper()),
        {
            "input_ids": tokens(24), "attention_mask": fill(1, 1, 24),
            "encoder_hidden_states": noise(1, 300, 256),
        },
        ("logits",),
    ),
    "wav2vec2_small": _transformers(
        "Wav2Vec2ForCTC",
        _config(
            "Wav2Vec2", vocab_size=32, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=1024, conv_dim=(128,) * 7, num_conv_pos_embeddings=64, num_conv_pos_embedding_groups=8,
        ),
        {"input_values": sound(1, 16000, scale=5)}, "ts", "dy",
    ),
    "bilstm_tagger-bs": Architecture(
        networks.Tagger, {"input_ids": tokens(64)}, ("logprobs",), ("ts",), _BS
    ),
    "bilstm_tagger": Architecture(networks.Tagger, {"input_ids": tokens(64)}, ("logprobs",), ("dy",)),
    "loop_if": Architecture(
        networks.loop_and_branch, {"x": noise(1, 64), "steps": fill(5)}, ("y",), ("ts",)
    ),
    "cond_gate": Architecture(networks.Gate, {"x": noise(1, 64)}, ("y",), ("dy",)),
}  # fmt: skip


def write(name: str, exporter: str, path: Path, arrays: Sequence[Any], batch: Sequence[Any]) -> None:
    """Export one of `MODELS`.

    Args:
        name: of the architecture.
        exporter: "ts" or "dy".
        path: the file to write.
        arrays: inputs to trace it with.
        batch: inputs of several samples, for the statistics of normalization.
    """
    wanted = MODELS[name]
    torch.manual_seed(0)
    module = wanted.build().eval()
    if not isinstance(module, torch.jit.ScriptModule):
        networks.randomize(module, [torch.from_numpy(one) for one in batch])
    given = tuple(torch.from_numpy(one) for one in arrays)
    axes = dict(enumerate(wanted.dynamic))
    common = {
        "input_names": list(wanted.inputs),
        "output_names": list(wanted.outputs),
        "opset_version": OPSETS[exporter],
    }
    with torch.no_grad():
        if exporter == "ts":
            names = dict.fromkeys(wanted.inputs, axes) if axes else None
            torch.onnx.export(module, given, str(path), dynamic_axes=names, dynamo=False, **common)
            return
        shapes: Any = None
        if axes:
            given = tuple(torch.cat([one, one]) for one in given)  # a batch of one would be taken for fixed
            shapes = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for _ in given)
            kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
            shapes = (shapes,) if inspect.Parameter.VAR_POSITIONAL in kinds else shapes
        torch.onnx.export(
            module, given, str(path), dynamic_shapes=shapes, dynamo=True, external_data=False, verbose=False, **common
        )
