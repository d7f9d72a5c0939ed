"""An input and an objective enter a method of this package, and it asks the network for scores of masked inputs.

Maps of the effect of each part of the picture on the score leave; no gradients are needed.
"""
