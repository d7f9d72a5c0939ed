"""An unpacked archive enters this package: a folder with weights and configuration.

A `Classifier` leaves: the frozen network with a forward function to logits, and its labels, layers and limits.
"""
