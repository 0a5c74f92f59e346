"""An example to copy: a rule, a pass, a command and a backend for graphopt."""
