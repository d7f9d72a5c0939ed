"""Measure the time and memory of saliency: served by TorchServe, in one process, and compared with other libraries."""
