"""The one pass through the frozen backbone, and bringing a cache up to date.

    asked.py         what a run asks for: what was given and, for the rest, what the cache has
    updating.py      brings caches up to date: lists, begins, fills, draws splits, finishes
    plan.py          what holds for all parts of a cache: what is asked for, its images, what is decided once
    whole.py         a cache as a whole: its parts, and the file that shows them as one
    one_file.py      decides what a file needs: nothing, go on, grow, start anew
    on_ray.py        parts as tasks of Ray
    processes.py     several processes, each of which takes the next part that nobody holds
    reports.py       what a run did, in words
    growing.py       a cache that grows, with the finished rows of the old one
    lending.py       the cache of other data whose features a new one takes over
    drawing.py       splits, drawn with what the caches of the data set know
    space.py         augmented views, and the space on the disk that they need
    extractor.py     the loaded backbone; finished rows computed again
    filling.py       passes over the pending rows of caches, part by part
    one_pass.py      read, decode, forward and write, all overlapped
    deciding.py      the recipe of a new cache: `auto` decided, int8 calibrated, the net compiled
    precision.py     decides `auto`: precision and compilation
    calibration.py   images on which int8 is calibrated, and compared with fp32
    fidelity.py      how near the features of a faster form are to those of fp32
    sampling.py      readable images, on which something is tried
    verification.py  whether rows are still what was written

`updating.py` loads without torch: a cache that is up to date answers at once.
"""
