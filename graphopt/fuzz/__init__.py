"""Fuzzing: random models through random recipes, held against what the models computed before.

A piece of a model in the making: `piece` · operators and shapes of control around it: `operators`, `wrap` · a whole
model with its inputs: `draw` · what may go wrong with it: `trial`, told from bad conditioning by `jitter` · thousands
of them in parallel: `campaign`

The way is NNSmith's and Csmith's: every model is valid by construction, since each piece is executed before the next
is put on it, so that whatever goes wrong afterwards is graphopt's mistake.
"""
