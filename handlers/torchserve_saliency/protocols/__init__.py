"""Requests enter in the form of TorchServe's own routes, of KServe's first protocol, or of the Open Inference Protocol.

Calls leave, with one message per picture, and later their answers in the form of the same protocol.
"""
