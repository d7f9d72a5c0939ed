"""Inputs that people bring, taken from public threads, and the product's answer to each."""
