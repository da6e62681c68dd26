"""The slow way: the whole net, end to end, on the same splits.

    run.py            from the settings to the folder of a run
    training.py       epochs, optimiser, the best epoch
    net.py            the net to train: which parts, from which head
    batches.py        images in batches, for training and for prediction
    precision.py      fp32 or bf16, whichever is faster here
    data_parallel.py  several processes train one net
    checkpoint.py     going on after the last finished epoch

Never imports a cache or heads: it does without features.
"""
