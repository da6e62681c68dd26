"""Repeated cross-validation of heads and probes, for data with few test images.

    folds.py    which images learn, choose and test in each fold
    images.py   the images that take part, and what belongs together among them
    methods.py  learns and tests in one fold
    figures.py  figures of all images, their intervals, the table
    run.py      from the settings to the folder of the result

Never sees an image, never loads a backbone.
"""
