"""Let Attention append keys and values to those of the tokens before: the present is its output, the past its input.

    past_k ─ Concat ─┬─ present_k                           past_k ─┐   ┌─ present_k
    k ─────────┘     └─ Attention ─ y        becomes        q, k, v ─ Attention ─ y
    past_v, v likewise ────┘                                past_v ─┘   └─ present_v

Holds without is_causal, which counts from the end of the past. Fidelity: rounding.
"""

from __future__ import annotations

from graphopt.ir.edit import is_read
from graphopt.ir.infer import dims_of
from graphopt.rewrite import rule

SINCE = 23


def _plain(node):
    """Whether an Attention has no other outputs than the first."""
    return not any(is_read(value) or value.is_graph_output() for value in node.outputs[1:])


@rule("attention-cache", fidelity="rounding")
def cache(p):
    keys = p.Concat(p.past_k, p.k, axis=p.attribute("axis_k"))
    values = p.Concat(p.past_v, p.v, axis=p.attribute("axis_v"))
    made = p.Attention(p.q, keys, values, p.rest("more"), as_="attention", is_causal=0, where=_plain)
    return made, keys, values


@cache.require("what is appended are positions, axis 2 of 4")
def _(m):
    rank = len(dims_of(m.k) or ())
    return rank == 4 and m.axis_k in (2, -2) and m.axis_v in (2, -2)


@cache.require("keys and values have as many positions in the past")
def _(m):
    keys, values = (dims_of(past) for past in (m.past_k, m.past_v))
    return keys is not None and values is not None and keys[2] == values[2]


@cache.require("the Attention has no cache yet")
def _(m):
    return not any(m.more[1:])


@cache.replace
def _(op, m):
    mask = m.more[0] if m.more else None
    return op.Attention(m.q, m.k, m.v, mask, m.past_k, m.past_v, outputs=3, like=m.attention)


@cache.example
def _(g):
    g.since(SINCE)
    batch, heads, queries, before, width = (g.integer(1, 3) for _ in range(5))
    q = g.input([batch, heads, queries, width])
    parts = [[g.input([batch, heads, n, width], static=True) for n in (before, queries)] for _ in range(2)]
    keys, values = (g.Concat(*pair, axis=g.pick([2, -2])) for pair in parts)
    g.output(g.Attention(q, keys, values, scale=0.5))
    for one in (keys, values):
        if g.flag():
            g.output(one)


RULES = (cache,)
