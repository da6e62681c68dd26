"""Folders, CSV lists and archives become a `Manifest`: which images, which label, which split.

    manifest.py    the columns of a data set: paths, labels, splits, sizes, times
    matching.py    which images of two listings are the same
    labelled.py    a data set by its name on the command line: the entrance
    folders.py     `<class>/*.jpg` and `{train,val,test}/<class>/*.jpg`
    masks.py       masks beside images, which belong to no class
    guesses.py     what a folder that is no data set may have meant
    walking.py     files below a folder, without those of the system; patterns that mean several files
    split_names.py which split a name means: Training, test_set, dev
    class_names.py names of classes: cleaned, in order, or from a file
    lists.py       lists of images with labels, splits and groups
    listed.py      the files that a list names, and those that are missing
    repeats.py     images that several lines name
    copies.py      images of val and test whose bytes have been learned from
    roots.py       what the paths in a list may be relative to
    columns.py     which column of a list holds what
    tables.py      lines and cells of a list
    archives.py    tar archives in WebDataset's layout, and parquet files
    tar_members.py the files in a tar archive, and where the bytes of each begin
    tar_index.py   which of them are images, with their labels; kept for the next time
    parquet.py     rows of parquet files in Hugging Face's layout
    grouping.py    groups of images by their paths; whether splits divide groups
    draw.py        splits that the data does not name, drawn from the bytes of the images
    checks.py      what must hold of splits
    splits.py      rows of a split; stratified parts
    naming.py      the name of a data set here, which no other one has
    unlabelled.py  images without labels, to be predicted
    description.py what a data set holds, and what has changed, in words
    examples.py    data sets of libraries, written once as folders

Loads without torch; never opens an image of a data set, and of a cache reads only whose it is.
"""
