"""Statistics of the values of a model over samples, in memory that does not grow with their number.

stats = collect(model, ["conv1_out"], samples)            minimum, maximum, mean, histogram of each value
moment = moments(model, ["conv1_out"], samples)           E[xxᵀ] and E[x] of what weighted layers read
means = channel_means(model, ["conv1_out"], samples)      per-channel means of what layers write
"""

from __future__ import annotations

from graphopt.calibrate.layers import Layer, layer_of, layers_of
from graphopt.calibrate.means import channel_means
from graphopt.calibrate.moments import Moment, each_moment, moments
from graphopt.calibrate.segments import Segment, cut, stepped
from graphopt.calibrate.stats import BINS, TensorStats
from graphopt.calibrate.sweep import BUDGET, Samples, Tell, collect, observe

__all__ = [
    "BINS", "BUDGET", "Layer", "Moment", "Samples", "Segment", "Tell", "TensorStats", "channel_means", "collect", "cut",
    "each_moment", "layer_of", "layers_of", "moments", "observe", "stepped",
]  # fmt: skip
