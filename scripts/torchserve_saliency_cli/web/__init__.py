"""The page: a small web server between a browser and a TorchServe, and the files that it serves."""
