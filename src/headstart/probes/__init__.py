"""How good the features are, as papers measure it.

    probe.py       the protocol: choose on validation, learn from both, test once
    logistic.py    multinomial logistic regression over 45 penalties
    ridge.py       ridge regression in closed form; means and scatter of features
    neighbours.py  weighted nearest neighbours
    run.py         from the settings to the folders of the runs

Never sees an image, never loads a backbone.
"""
