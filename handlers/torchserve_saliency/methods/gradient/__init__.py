"""An input and an objective enter a method of this package, and it asks the network for gradients of the score.

Attributions of the score to each input value leave, with their completeness if the method is meant to be complete.
"""
