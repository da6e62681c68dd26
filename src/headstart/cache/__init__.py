"""The HDF5 file of features: format, creation, writing, reading, checking.

    layout.py         format, states of a row, where the bytes of a dataset lie
    recipe.py         everything that decides what a feature is
    views.py          augmented views: what decides them
    feature_cache.py  a cache, open for reading
    creation.py       a cache whose rows are all pending
    writing.py        finished rows, in an order that no kill can break
    locking.py        one writer at a time
    inspection.py     what a cache holds and how healthy it is
    nearest.py        nearest neighbours by centred cosine: near-duplicates, suspicious labels

Loads without torch; never runs a net.
"""
