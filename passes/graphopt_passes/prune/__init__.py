"""Passes that make a model narrower."""
