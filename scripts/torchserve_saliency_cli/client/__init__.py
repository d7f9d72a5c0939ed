"""A client of TorchServe's explanations route. It sends pictures with options, and prints and saves the answers."""
