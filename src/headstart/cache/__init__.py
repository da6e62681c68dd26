"""The HDF5 file of features: format, creation, writing, reading, checking.

    layout.py         format, states of a row, where the bytes of a dataset lie
    recipe.py         everything beside an image's bytes that decides its features: JSON, digest, differences
    views.py          what decides augmented views
    checked.py        our datasets in a file: each of the type, length and place that it must have
    row_checksums.py  one number for all that a row says beside its features
    rows.py           the rows of one view: their states, and their features read and verified
    feature_cache.py  a cache, open for reading: its views, and what holds for the whole file
    drawn_splits.py   the images of a cache as they were listed; splits that the data does not name, in the file
    known_splits.py   splits that images have in caches already
    joined.py         caches of several backbones as one: their features side by side
    parts.py         which image belongs to which part; the file that shows parts as one
    parted.py        the rows of parts, read as those of one cache
    arrays.py         a cache as numpy arrays, for other libraries
    finding.py        which file holds the features of a data set
    creation.py       a cache whose rows are all pending
    foreign.py        what other programs keep in the file follows it when it grows
    writing.py        finished rows, in an order that no kill can break
    locking.py        one writer at a time
    inspection.py     what a cache holds and how healthy it is
    nearest.py        nearest neighbours by centred cosine: near-duplicates, suspicious labels

Loads without torch; never runs a net.
"""
