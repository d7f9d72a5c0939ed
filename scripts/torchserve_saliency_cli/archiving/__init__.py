"""The parts of `torchserve-saliency archive`. A network is found, packed, and checked in a process of its own."""
