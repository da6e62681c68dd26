"""The difference of two single classifiers, and of counts."""

from headstart.report.paired import estimate, of_methods


def difference(added, reference_added, groups=None, select="accuracy", of_one=1.0):
    """By what each of the same images (N,) adds to the figure of each."""
    return of_methods(added[None], reference_added[None], (False, False), groups, select, of_one)


def interval(gained, lost, images):
    """The 95% interval of a difference of two shares of the same images."""
    return estimate(gained, lost, gained + lost, images).interval()
