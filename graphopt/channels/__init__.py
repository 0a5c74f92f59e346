"""Channels: which of them belong together, which matter least, how they are taken out, how the rest makes up for it.

    outcome = Pruner(model, samples).prune(Request(0.7))
    outcome.model, outcome.removed, outcome.unfitted.sqnr, outcome.score.sqnr

In the order in which a run passes them: `graph` (axes and relations), `operators` (what each operator says of its
axes; plugins add theirs by `registry`), `build`, `groups` (what leaves together), `criteria` (what leaves first),
`cost` and `plan` (how much), `cut` (the removal), `recover` with `fit` (least squares), `compensate` (recurrent
layers), `score`. `prune` leads through them.
"""
