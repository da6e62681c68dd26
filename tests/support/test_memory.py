"""Freed memory is kept while that is asked for, and goes back to the system as usual afterwards."""

import json
import platform
import resource
import subprocess
import sys

import numpy as np
import pytest

from headstart.support import memory
from headstart.support.memory import kept_memory

BYTES = 2**28

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")


def faults_of_touching_it_twice_again() -> int:
    """Page faults of the second time that a block is asked for, filled and freed."""
    np.ones(BYTES, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(BYTES, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def faults_before_while_and_after() -> list[int]:
    """Without kept memory, in one context inside another, in the outer one alone, and without any again."""
    faults = [faults_of_touching_it_twice_again()]
    with kept_memory():
        with kept_memory():
            faults.append(faults_of_touching_it_twice_again())
        faults.append(faults_of_touching_it_twice_again())
    return [*faults, faults_of_touching_it_twice_again()]


@on_glibc
def test_a_block_that_is_asked_for_again_costs_no_page_fault_while_memory_is_kept():
    """In a process of its own: what other tests have freed may hold the block, and then nothing faults."""
    said = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True).stdout
    usual, inner, outer, after = json.loads(said)
    assert inner < usual / 10
    assert outer < usual / 10, "the outer one still holds"
    assert after > usual / 2, "and then all is as it was"


def test_it_decorates_what_may_fail():
    @kept_memory()
    def failing():
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        failing()
    assert memory._users == 0


def test_another_malloc_is_left_alone(monkeypatch):
    monkeypatch.setattr("headstart.support.memory._libc", object())
    with kept_memory():
        pass


if __name__ == "__main__":
    print(json.dumps(faults_before_while_and_after()))
