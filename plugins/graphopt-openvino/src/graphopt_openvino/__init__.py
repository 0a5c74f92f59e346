"""Intel OpenVINO as a backend of graphopt."""
