"""Small networks that no library has ready, of the kinds that exporters turn into unlike graphs."""

from __future__ import annotations

import itertools

import torch
from spec import VOCABULARY
from torch import Tensor, nn


class Tagger(nn.Module):
    """Two bidirectional LSTM layers over words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 128)
        self.recurrent = nn.LSTM(128, 128, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(256, 32)

    def forward(self, input_ids: Tensor) -> Tensor:
        return torch.log_softmax(self.head(self.recurrent(self.words(input_ids))[0]), dim=-1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.body = nn.Sequential(first, nn.PReLU(width), second)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.body(x)


def super_resolution(width: int = 48, blocks: int = 8) -> nn.Module:
    """EDSR that doubles the sides of a picture."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), *(_Residual(width) for _ in range(blocks)),
        nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(width, 3, 3, padding=1),
    )  # fmt: skip


class UNet(nn.Module):
    """Four scales down, three up again, with what was on the way beside."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(self._pair(a, b) for a, b in zip((3, *widths), widths, strict=False))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs)
        self.merge = nn.ModuleList(self._pair(2 * a, a) for a, _ in pairs)
        self.head = nn.Conv2d(widths[0], 4, 1)

    @staticmethod
    def _pair(given: int, wanted: int) -> nn.Module:
        layers: list[nn.Module] = []
        for channels in (given, wanted):
            layers += [nn.Conv2d(channels, wanted, 3, padding=1, bias=False), nn.BatchNorm2d(wanted), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        passed = []
        for scale, layers in enumerate(self.down):
            x = layers(nn.functional.max_pool2d(x, 2) if scale else x)
            passed.append(x)
        passed.pop()
        for scale in reversed(range(len(self.merge))):
            x = self.merge[scale](torch.cat([passed[scale], self.widen[scale](x)], dim=1))
        return self.head(x)


class _Adaptive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor, steps: Tensor) -> Tensor:
        for _ in range(int(steps)):
            x = torch.tanh(self.step(x)) + 0.5 * x
        # The exporter writes an If for the statement, not for the expression.
        if bool(x.mean() > 0):
            y = self.head(x)
        else:
            y = self.head(-x)
        return y


def loop_and_branch() -> nn.Module:
    """A loop as long as an input says and a branch on a value: scripted, so that they are exported as Loop and If."""
    torch.manual_seed(0)
    return torch.jit.script(_Adaptive())


class Gate(nn.Module):
    """A branch that `torch.export` keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        def first(t: Tensor) -> Tensor:
            return torch.relu(self.one(t))

        def second(t: Tensor) -> Tensor:
            return torch.sigmoid(self.other(t))

        return self.head(torch.cond(x.sum() > 0, first, second, (x,)))


class Keywords(nn.Module):
    """A transformers model that takes tensors by position and gives fields of its answer as a tuple."""

    def __init__(self, model: nn.Module, keys: list[str], fields: tuple[str, ...], **fixed: object) -> None:
        super().__init__()
        self.model, self.keys, self.fields, self.fixed = model, keys, fields, fixed

    def forward(self, *given: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer = self.model(**dict(zip(self.keys, given, strict=True)), **self.fixed)
        found = tuple(getattr(answer, field) for field in self.fields)
        return found if len(found) > 1 else found[0]


class SpeechDecoder(nn.Module):
    """Whisper's decoder with the projection onto words."""

    def __init__(self, whisper: nn.Module) -> None:
        super().__init__()
        self.decoder, self.head = whisper.model.decoder, whisper.proj_out

    def forward(self, input_ids: Tensor, attention_mask: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        answer = self.decoder(
            input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=encoder_hidden_states,
            use_cache=False,
        )  # fmt: skip
        return self.head(answer.last_hidden_state)


def randomize(module: nn.Module, batch: list[Tensor], seed: int = 0) -> None:
    """Weights that carry the input through to the output, and no constant behind which a wrong fold could hide.

    What libraries start from (tiny deviations, statistics of nothing, biases of zero, layer scales of a millionth)
    makes deep networks whose output hardly depends on the input: a mistake of an optimizer would not show. `batch`
    holds inputs from which BatchNormalization takes its statistics.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=draw)

    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for one in module.modules():
            if isinstance(one, nn.Linear | nn.Conv1d | nn.Conv2d) and one.weight[0].numel() > 1:
                gain = 2 if isinstance(one, nn.Conv2d) else 1
                one.weight.copy_(normal(one.weight) * (gain / one.weight[0].numel()) ** 0.5)
        for weight in module.parameters():
            same = weight.numel() > 1 and weight.is_floating_point() and bool((weight == weight.flatten()[0]).all())
            if same:
                center = weight.flatten()[0].item()
                weight.copy_((0.3 if 0 < abs(center) < 0.01 else center) + 0.05 * normal(weight))
        if not norms:
            return
        kept = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().momentum = 1.0
        module(*batch)
        for norm, momentum in zip(norms, kept, strict=True):
            norm.eval().momentum = momentum
            norm.running_mean += 0.05 * norm.running_var.sqrt() * normal(norm.running_mean)
            norm.running_var.mul_(0.8 + 0.4 * torch.rand(norm.running_var.shape, generator=draw)).clamp_(min=1e-3)
