"""Which way is better on this data, by how much, at what cost.

    comparison.py  all runs of a data set, compared: compare.json
    paired.py      the paired difference of two runs, or of two methods, on the same images
    amounts.py     the size of a difference in words, of accuracy or another figure
    verdict.py     the sentence on fine-tuning
    worth.py       whether fine-tuning gains as much as is wanted
    advice.py      the next commands: a run that is missing, more seeds, cross-validation of few images
    backbones.py   which backbone: the best run of each, its cost, and a sentence
    tables.py      the tables for the terminal
    page.py        report.html, from page.html.jinja
    sections.py    the values of its sections
    gallery.py     which images and classes models confuse, with pictures; near-duplicates
    figures.py     the charts of the page
    contact_sheet.py  one picture of a data set, for make data-check
    writing.py     from the settings to all files of a comparison

Reads runs and caches; never trains.
"""
