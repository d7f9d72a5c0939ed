"""What scripts/archive.py is made of."""
