"""Explanations, predictions and errors enter.

Bodies with a status, a content type and headers leave: JSON, PNG or npy.
"""
