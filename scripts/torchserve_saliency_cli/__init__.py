"""The commands that a user runs: archive, explain, serve and demo. They are run as `torchserve-saliency COMMAND`."""
