"""What is in a model file: weights, work, memory, operators, layers. No weight is read.

found = inspect("model.onnx", dims={"batch": 1})
found.parameters, found.macs, found.activation_peak
"""

from graphopt.inspection.facts import Inspection, Layer, inspect, survey
from graphopt.inspection.memory import Peak, activation_peak

__all__ = ["Inspection", "Layer", "Peak", "activation_peak", "inspect", "survey"]
