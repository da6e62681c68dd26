"""A run as one model: backbone and head, on new images or exported.

    loading.py          reads the model of a run from its folder
    image_prediction.py what is predicted for an image
    classifier.py       the model: pixels in, probabilities out
    distance.py         how far images lie from the training images, and which are unknown
    predict.py          images or rows of a cache → a CSV
    on_ray.py           the same images, by tasks of Ray
    evidence.py         which places of an image speak for a class
    map_picture.py      draws it, with what its colours mean
    overlays.py         the pictures of the first images, beside the CSV
    growing_csv.py      a CSV that is continued after an interruption
    exporting.py        a run as one file for other programs, checked
    model_card.py       writes that file with its card, from model_card.md.jinja
    programs.py         predict and export, from the settings to the file

Never trains.
"""
