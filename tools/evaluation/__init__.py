"""Measure how faithful saliency maps are to the network, where they lie, and how long they take."""
