"""Passes that bring a model into the form that a backend takes."""
