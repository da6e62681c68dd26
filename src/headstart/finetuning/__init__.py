"""Fine-tuning: the whole net trained end to end on the same splits, for comparison.

    run.py            from the settings to the folder of a run
    data.py           the images and their splits: those of the cache, or drawn
    training.py       epochs and steps, the best epoch
    start.py          the net before it is trained, and the settings that it decides
    parts.py          the parts of a net by name
    net.py            the net to train: its new head, its frozen parts, its optimizer
    batches.py        images in batches, for training and for prediction
    precision.py      fp32 or bf16, the faster of them on this machine
    data_parallel.py  several processes train one net
    checkpoint.py     the state after an epoch, to go on from

Never imports heads, and of a cache reads only digests and splits: it works without features.
"""
