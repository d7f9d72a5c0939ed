"""A generator of apple-leaf pictures with known lesions, and a small classifier. The classifier was trained on them."""
