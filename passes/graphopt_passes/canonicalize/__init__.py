"""Passes that bring a graph into its plainest form without changing a value."""
