"""Passes that store and compute in fewer bits."""
