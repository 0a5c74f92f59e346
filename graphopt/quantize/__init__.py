"""Quantization: what a backend takes (`scheme`), where codes go (`plan`), over which ranges (`ranges`), the rewriting
(`insert`), the proof that the result is legal (`validate`), and the methods that buy accuracy (`methods`).
"""
