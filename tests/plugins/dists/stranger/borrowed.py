"""A set of rules of onnxscript's own library, as it is."""

from onnxscript.rewriter.rules.common._basic_rules import basic_optimization_rules

simplest_forms = basic_optimization_rules()
