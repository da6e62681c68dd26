"""Which images to label next: those that a head is unsure of, unlike each other.

    pool.py      the features of the images to choose from, in a cache of their own
    learning.py  the head that says which class an image looks like
    picking.py   which of them are chosen
    result.py    the images that were chosen, and chosen.csv
    page.py      the page with pictures
    run.py       from the settings to the folder of the result

Trains a linear head, changes no image.
"""
