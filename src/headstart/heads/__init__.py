"""Heads on cached features: one or a thousand, in memory or from the file.

    features.py        features, labels and splits as tensors
    feature_file.py    features that do not fit the memory, read a window ahead
    stack.py           K heads as one computation
    steps.py           the steps of the heads that a cache holds
    targets.py         loss, label smoothing, class weights
    adam.py            Adam and AdamW for K heads at once
    adam_kernel.py     the same in one launch of a GPU
    pointwise.py       what a step computes between the products of matrices
    pointwise_kernel.py  the same in few launches of a GPU
    own_kernels.py     whether this machine compiles these kernels
    training.py        from features to trained heads
    records.py         its epochs, the trained head, and what is needed to go on
    sweep.py           many settings, successive halving
    leaderboard.py     the settings of a sweep, ranked
    learning_curve.py  accuracy against the number of training images
    last_doubling.py   what the curve says: would more images help?
    pictures.py        sweep.png and learning_curve.png
    run.py             from the settings to the folder of a run
    provenance.py      what a run says of the features that it learned from
    programs.py        the same for sweep and learning curve
    estimator.py       the head as a scikit-learn estimator

Never sees an image, never loads a backbone.
"""
