"""Apple leaves: a generator of pictures with known lesions, and the small classifier trained on them."""
