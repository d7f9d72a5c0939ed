"""What scripts/soak.py is made of: requests, clients, faults, and the report of what came of them."""
