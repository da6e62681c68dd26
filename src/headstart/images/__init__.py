"""Image files become squares of pixels, in threads.

    metadata.py      what a file holds beside its pixels
    segments.py      the marks of a JPEG, and what follows them
    limits.py        what a picture may cost in memory and time, by its header
    budget.py        memory for all pictures that are decoded at a time
    strips.py        large pictures in parts
    endings.py       files that lack their end: a JPEG the mark alone, others were copied in part
    jpeg.py          plain JPEG files, decoded without Python's lock where simplejpeg is installed
    geometry.py      which part of a picture becomes the square, and by which filter
    decoding.py      bytes → upright RGB → a square of pixels
    unreadable.py    a report of the images that cannot be read
    rooms.py         memory for the pictures of many images, which one copy takes to a GPU
    reading.py       the bytes of one image
    loading.py       many images at once: threads, order, batches
    loaders.py       several processes that load into memory that all share
    feeding.py       pictures on their way to a GPU, which resizes them
    digests.py       digests of the bytes of many images
    augmentation.py  random crops, mirror images and other colours

All but feeding.py loads without torch; never sees features or a cache.
"""
