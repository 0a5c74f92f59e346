"""Reduction: a model that shows some behavior becomes the smallest one that still shows it.

The driver, which is delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002),
and what it tries: `steps` · what counts as the same behavior: `behavior`

    small = reduce(model, interesting)
"""

from graphopt.reduce.driver import Reduction, reduce

__all__ = ["Reduction", "reduce"]
