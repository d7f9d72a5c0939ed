"""A network enters with an example batch, on which each optimisation is tried: folding, layout, precision, compilation.

The network leaves with the optimisations that keep its results and speed, with their measured errors, memory and time.
"""
