"""Make one node out of several wherever the standard has an operator for it: every fusion together.

The rules of the fusions share one worklist, so that what one of them opens another takes at once: a BatchNormalization
behind a MatMul becomes a bias, and the two a Gemm. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.ir.infer import infer_shapes
from graphopt.pipeline import Context, Pass, PassResult
from graphopt.rewrite import apply_rules
from graphopt_passes.fuse.batch_norm import FuseBatchNorm
from graphopt_passes.fuse.conv_bias import FuseConvBias
from graphopt_passes.fuse.conv_bn import FuseConvBN
from graphopt_passes.fuse.conv_scale import FuseConvScale
from graphopt_passes.fuse.einsum import FuseEinsum
from graphopt_passes.fuse.elu import FuseElu
from graphopt_passes.fuse.flatten import FuseFlatten
from graphopt_passes.fuse.gelu import FuseGelu
from graphopt_passes.fuse.gemm import FuseGemm
from graphopt_passes.fuse.global_pool import FuseGlobalPool
from graphopt_passes.fuse.hard_swish import FuseHardSwish
from graphopt_passes.fuse.instance_norm import FuseInstanceNorm
from graphopt_passes.fuse.layer_norm import FuseLayerNorm
from graphopt_passes.fuse.leaky_relu import FuseLeakyRelu
from graphopt_passes.fuse.linear import FuseLinear
from graphopt_passes.fuse.norm_affine import FuseNormAffine
from graphopt_passes.fuse.pad import FusePad
from graphopt_passes.fuse.reductions import FuseReductions
from graphopt_passes.fuse.rms_norm import FuseRMSNorm
from graphopt_passes.fuse.scale_conv import FuseScaleConv
from graphopt_passes.fuse.softmax import FuseSoftmax
from graphopt_passes.fuse.swish import FuseSwish

MEMBERS = (
    FuseConvBN, FuseConvScale, FuseConvBias, FuseLayerNorm, FuseRMSNorm, FuseInstanceNorm, FuseNormAffine, FuseSoftmax,
    FuseGelu, FuseSwish, FuseLeakyRelu, FuseElu, FuseHardSwish, FuseReductions, FuseEinsum, FuseFlatten, FuseGemm,
    FuseLinear, FuseScaleConv, FusePad, FuseBatchNorm, FuseGlobalPool,
)  # fmt: skip
RULES = tuple(rule for member in MEMBERS for rule in member.rules)


class Fuse(Pass):
    """Make one node out of several wherever the standard has an operator for it."""

    name = "fuse"
    fidelity = "rounding"
    idempotent = True

    def run(self, model, context: Context) -> PassResult:
        """Apply all rules until none fires."""
        infer_shapes(model)
        outcome = apply_rules(model, RULES, made_by=self.name, explain=context.explain)
        detail = ", ".join(f"{name} {count}" for name, count in sorted(outcome.counts.items()))
        return PassResult(len(outcome.rewrites), detail, log=tuple(outcome.rewrites), misses=tuple(outcome.misses))
