"""Other people's optimizers as passes: recorded, verified and taken back like ours."""
