"""Maps held against the truth, against the network itself, and against maps that know nothing of it."""
