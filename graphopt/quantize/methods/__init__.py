"""Methods that buy accuracy at equal bits, each by itself: on the float model, on a weight, on the placed graph."""
