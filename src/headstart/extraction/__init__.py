"""The one pass through the frozen backbone, and bringing a cache up to date.

    asked.py         what a run asks for: what was given and, for the rest, what the cache has
    updating.py      decides what a cache needs: nothing, go on, grow, start anew
    reports.py       what a run did, in words
    growing.py       a cache that grows, with the finished rows of the old one
    drawing.py       splits, drawn with what the caches of the data set know
    space.py         augmented views, and the space on the disk that they need
    extractor.py     the loaded backbone; finished rows computed again; a pass over pending rows
    one_pass.py      read, decode, forward and write, all overlapped
    precision.py     decides `auto`: precision and compilation
    verification.py  whether rows are still what was written

`updating.py` loads without torch: a cache that is up to date answers at once.
"""
