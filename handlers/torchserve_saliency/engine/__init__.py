"""Runs the network: `Rows` of many requests enter, pooled into batches, forward once and backward once per target.

An `Answer` leaves for each `Rows` (logits, scores, activations, gradients), or the `RequestError` of a failure.
"""
