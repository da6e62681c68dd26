"""Bytes become upright RGB, then squares, in threads.

    decoding.py      bytes → upright RGB → a square of pixels
    unreadable.py    why an image cannot be read; when there are too many
    loading.py       many images at once: threads, order, batches
    augmentation.py  random crops, mirror images and other colours

Loads without torch; never sees features or a cache.
"""
