"""What scripts/zoo.py is made of: the networks, the trial of one, its results, and the matrix that they make."""
