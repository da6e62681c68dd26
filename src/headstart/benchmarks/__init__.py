"""Headstart against what people write by hand: contestants run in turn, round by round.

    rounds.py      contestants in turn; medians of the ratios
    photos.py      pictures to measure with
    by_hand.py     the loops that people write
    forms.py       whole processes of the pass in each form, with nothing compiled before and with what was kept
    peers.py       the backbone alone in OpenVINO and ONNX Runtime
    extraction.py  the pass of one or several backbones, prediction, an epoch of fine-tuning
    lock.py        how long a pass for a GPU holds Python's lock
    storing.py     writing, reading and checking a cache
    heads.py       one head and 64
    limits.py      what arithmetic and bandwidth of a CPU allow heads
    tables.py      the figures as tables
    needed.py      the packages that the figures of a GPU need
    profiling.py   seconds, kernels, waits of the host, traces
    gpu.py         the figures of a GPU, with goals and with what the card allows
    results.py     these figures as JSON and as a table

Only its programs import it.
"""
