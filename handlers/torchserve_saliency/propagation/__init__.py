"""A network's forward pass enters one of these modes, which change how gradients flow or capture attention matrices.

Unchanged forward values leave, and the captured matrices; autograd then returns DeepLIFT multipliers, LRP relevance,
or the gradients of guided backpropagation and deconvolution.
"""
