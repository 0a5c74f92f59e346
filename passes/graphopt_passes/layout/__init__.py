"""Passes that lay tensors out as runtimes work on them best."""
