"""An input enters a method of this package, and it asks the network for the activations of layers or of attention.

Class activation maps, attention maps, feature maps, or an input that maximises a score leave.
"""
