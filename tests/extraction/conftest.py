"""What the tests of passes share."""

import pytest
from helpers.extraction import Watch


@pytest.fixture
def forwarded(watch: Watch) -> Watch:
    """Counts the pictures that reach the net in this test."""
    watch.images = 0
    return watch
