"""The images of a data set that are most like others, by their features.

    neighbours.py  exact nearest neighbours, in blocks, of features that may be larger than the memory
    queries.py     the features of pictures that are looked for, by the nets that made a cache
    answers.py     what is nearest to each picture, by name
    page.py        the page with pictures
    run.py         from the settings to the CSV and the page

Never trains, changes no image.
"""
