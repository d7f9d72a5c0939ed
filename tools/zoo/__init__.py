"""Archive and explain every classifier of torchvision and one of each family of timm, and report which ones work."""
