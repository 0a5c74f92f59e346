"""The conformance kit that an author of plugins runs, by `graphopt plugin check` or under pytest.

Random graphs: `sketch` · the shared property test of rules: `rules` · models to try passes on: `samples` ·
all questions to a plugin: `conformance`, `backends` · what a backend's prober answers: `prober`
"""

from graphopt.testing.conformance import Finding, check_distribution
from graphopt.testing.prober import answer
from graphopt.testing.rules import RuleFailure, check_rule, registered_rules
from graphopt.testing.sketch import Sketch

__all__ = ["Finding", "RuleFailure", "Sketch", "answer", "check_distribution", "check_rule", "registered_rules"]
