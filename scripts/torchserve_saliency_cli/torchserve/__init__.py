"""Starting and stopping a TorchServe. It is found with its Java in the environment, and leaves nothing behind."""
