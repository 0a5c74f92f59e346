"""Passes that make one node out of several."""
