"""Write the documented tables of the built-in backends out of their facts.

    python docs/documented.py

Each backend's `documented.toml` says which toolchains, from which source; `documented.csv` beside it holds the facts.
Delegates depend on the measured table as well, so this runs again after `graphopt probe`; `make docs` runs it.
"""

from __future__ import annotations

from pathlib import Path

from graphopt.pipeline import make_backend
from graphopt.support.documented import documented
from graphopt.support.table import dump

BACKENDS = Path(__file__).parents[1] / "backends" / "graphopt_backends"


def main() -> None:
    """Write every table that the facts give."""
    for facts in sorted(BACKENDS.glob("*/documented.toml")):
        for name, table in documented(facts.parent, make_backend(facts.parent.name).table()).items():
            dump(table, facts.with_name(name))


if __name__ == "__main__":
    main()
