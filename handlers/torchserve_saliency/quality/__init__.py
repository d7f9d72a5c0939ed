"""The maps of one picture enter, with the objective that they explain and, if possible, their method.

Scores of faithfulness, sensitivity and sparseness leave, for each map and for a random map to compare with.
"""
