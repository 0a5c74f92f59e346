"""Passes that move Transposes and Reshapes through a graph until they cancel."""
