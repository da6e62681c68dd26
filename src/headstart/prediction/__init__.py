"""A run as one model: backbone and head, on new images or exported.

    loading.py      what a run is made of, read from its folder
    classifier.py   the model: pixels in, probabilities out
    predict.py      images or rows of a cache → a CSV
    growing_csv.py  a CSV that goes on where it was stopped
    exporting.py    one file for other programs, checked
    model_card.py   the card beside it, from model_card.md.jinja

Never trains.
"""
