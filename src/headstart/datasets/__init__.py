"""Folders, CSV lists and tar archives become a `Manifest`: which images, which label, which split.

    manifest.py    the columns of a data set: paths, labels, splits, sizes, times
    labelled.py    a data set by its name on the command line: the entrance
    folders.py     `<class>/*.jpg` and `{train,val,test}/<class>/*.jpg`
    csv_list.py    a CSV file with the columns path, label and perhaps split
    archives.py    tar archives in WebDataset's layout
    tar_index.py   where each member of an archive lies
    splits.py      splits where the data has none; rows of a split; stratified parts
    naming.py      the name of a data set here, which no other one has
    unlabelled.py  images without labels, to be predicted
    examples.py    data sets of libraries, written once as folders

Loads without torch; never opens an image, and of a cache reads only whose it is.
"""
