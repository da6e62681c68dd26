"""The one pass through the frozen backbone, and bringing a cache up to date.

    updating.py      what is to be done about a cache: nothing, go on, grow, start
    growing.py       what a cache that grows takes over from the one before
    extractor.py     the backbone made ready; a pass over what is pending
    one_pass.py      read, decode, forward and write, all overlapped
    precision.py     what `auto` means here: precision and compilation
    canaries.py      finished rows, computed again before new ones join them
    verification.py  whether rows are still what was written

`updating.py` loads without torch: a cache that is up to date answers at once.
"""
