"""Train the embedded leaf classifier on drawn pictures."""
