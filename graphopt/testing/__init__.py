"""The conformance kit that an author of passes and rules runs under pytest.

Random graphs: `sketch` · the shared property test of rules: `rules`
"""

from graphopt.testing.rules import RuleFailure, check_rule, registered_rules
from graphopt.testing.sketch import Sketch

__all__ = ["RuleFailure", "Sketch", "check_rule", "registered_rules"]
