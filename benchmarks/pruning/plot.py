"""A scatter of latency against work as SVG, both as shares of the original's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jinja2

_SIZE, _EDGE = 420, 46
_COLORS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0",
)  # fmt: skip
_PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ size + 190 }} {{ size }}"
  font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
{%- for share in ticks %}
<path d="M{{ x(share) }} {{ y(0) }}V{{ y(top) }}M{{ x(0) }} {{ y(share) }}H{{ x(top) }}" stroke="#e4e4e4"/>
<text x="{{ x(share) }}" y="{{ y(0) + 16 }}" text-anchor="middle">{{ "%d" % (100 * share) }} %</text>
<text x="{{ x(0) - 6 }}" y="{{ y(share) + 4 }}" text-anchor="end">{{ "%d" % (100 * share) }} %</text>
{%- endfor %}
<path d="M{{ x(0) }} {{ y(0) }}L{{ x(top) }} {{ y(top) }}" stroke="#999" stroke-dasharray="4 3"/>
<text x="{{ x(top / 2) }}" y="{{ y(0) + 34 }}" text-anchor="middle">multiply-accumulates left</text>
<text transform="translate(12 {{ y(top / 2) }}) rotate(-90)" text-anchor="middle">latency in onnxruntime</text>
{%- for name, line, color in lines %}
<polyline points="{% for a, b in line %}{{ x(a) }},{{ y(b) }} {% endfor %}" fill="none" stroke="{{ color }}"/>
{%- for a, b in line %}
<circle cx="{{ x(a) }}" cy="{{ y(b) }}" r="3.5" fill="{{ color }}"><title>{{ name }}</title></circle>
{%- endfor %}
<text x="{{ size + 4 }}" y="{{ 30 + 16 * loop.index0 }}" fill="{{ color }}">{{ name }}</text>
{%- endfor %}
</svg>
"""


def scatter(points: Sequence[tuple[float, float, str]]) -> str:
    """A line for each name through its points (work, latency)."""
    names = list(dict.fromkeys(name for _, _, name in points))
    top = max([1.0, *(math.ceil(10 * value) / 10 for a, b, _ in points for value in (a, b))])
    scale = (_SIZE - 2 * _EDGE) / top
    lines = [
        (name, sorted((a, b) for a, b, other in points if other == name), _COLORS[place % len(_COLORS)])
        for place, name in enumerate(names)
    ]
    return jinja2.Template(_PAGE).render(
        lines=lines, top=top, size=_SIZE, ticks=[share / 5 for share in range(int(5 * top) + 1)],
        x=lambda share: round(_EDGE + scale * share, 1), y=lambda share: round(_SIZE - _EDGE - scale * share, 1),
    )  # fmt: skip
