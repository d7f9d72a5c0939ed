"""Saliency for image classifiers: predictions and attribution maps from one forward pass."""
