"""What a person runs: archive, serve, explain, measure."""
