"""What is wrong with the data: what features, labels and pictures say of each other.

    finding.py     a row of audit.csv
    pixels.py      one look at every picture: size, brightness, a small form of it
    alignment.py   whether two pictures are one and the same
    quality.py     pictures of one colour, very dark, tiny
    copies.py      images that are there twice, also with another label or in another split
    answers.py     what models say of images that they did not learn from
    labels.py      labels that are probably wrong, and how many are expected to be
    outliers.py    images that are unlike all others
    classes.py     classes that cannot be told apart
    fixing.py      a cleaned list of the images
    gain.py        what a cleaned list gains: accuracy after and before
    result.py      all that an audit found
    page.py        the page with pictures
    run.py         from the settings to the folder of the result
    groups.py      groups that are mistaken more often than others

Never loads a backbone, changes no image.
"""
