"""Legalization: what a backend does not take is replaced by what it takes, as its measured table says.

What may replace what: `substitution` · the cheapest chain of rules for a node: `plan`, tried on a copy of it:
`isolate` · all of a model: `legalize`

The idea is MLIR's dialect conversion: the target declares what is legal, rules offer what they make, and a driver
searches for the way from one to the other.
"""

from graphopt.legalize.legalize import Legalized, legalize
from graphopt.legalize.substitution import Substitution, substitutions

__all__ = ["Legalized", "Substitution", "legalize", "substitutions"]
