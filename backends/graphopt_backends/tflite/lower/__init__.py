"""Lowerings, an operator family a file; the registry finds every function marked with `lowering`."""
