"""A run folder: settings, figures, predictions, pictures. Every kind of training ends here.

    run.py           a finished run and its figures
    metrics.py       what metrics.json says, and of which types
    listing.py       all runs of a data set, and their order
    seen.py          were images that are tested learned from by a net that was fine-tuned before?
    title.py         what a run is, in a few words: kind, widths, learning rate, views
    method.py        runs that differ by their seed alone: mean and spread, and the order of methods
    one_data_set.py  which runs may be compared with each other
    folder.py        the folder of a run: its name, and writing its files
    predictions.py   the predicted classes of a split
    figures.py       from predictions to the figures of metrics.json: top-5, temperature, and those of intervals.py
    intervals.py     accuracy, balanced accuracy, macro-F1 and log loss with their 95% intervals
    coverage.py      accuracy on the surest images
    selection.py     the figure by which validation chooses, and what it chose
    contributions.py what each test image adds to a figure
    dependence.py    how much less images say where they come in groups: design effect, degrees of freedom
    calibration.py   temperature and calibration error
    history.py       the epochs of a training, also as an event file for TensorBoard
    pictures.py      charts of runs: curves.png, confusion.png, compare.png
    drawing.py       the style of all charts; PNG files and SVG text

Loads without torch; never imports a net, a cache or a training.
"""
