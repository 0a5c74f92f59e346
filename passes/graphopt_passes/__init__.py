"""The built-in passes, a folder a kind, a file a pass.

canonicalize: fewer nodes, the same values · fuse: several nodes into one · legalize: into what a backend takes ·
external: other optimizers as passes
"""
