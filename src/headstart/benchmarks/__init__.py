"""Headstart against what people write by hand: contestants run in turn, round by round.

    rounds.py      contestants in turn; medians of the ratios
    photos.py      pictures to measure with
    by_hand.py     the loops that people write
    extraction.py  the pass and prediction
    storing.py     writing, reading and checking a cache
    heads.py       one head and 64
    finetuning.py  an epoch of fine-tuning
    tables.py      the figures as tables

Only its program imports it.
"""
