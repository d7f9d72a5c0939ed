"""Image bytes or pixels enter, and pictures with their network input and crop leave.

Maps enter too, and leave projected onto the original picture; superpixels and blurred copies are made here as well.
"""
