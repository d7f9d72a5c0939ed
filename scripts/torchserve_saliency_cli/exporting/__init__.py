"""A network of any package, written out as plain PyTorch source that needs no other package."""
