"""Damaged files of every kind that others may send: each is read or refused in a sentence. `make fuzz` runs it.

mutation.py    a sound file → a damaged one
sound.py       small sound files of every format
targets.py     what reads each kind, and what it may raise
worker.py      a process that reads one after the other, with its time and memory
fuzzing.py     the damaged files of one target, and what became of them
seeds/         inputs that once were neither read nor refused
__main__.py    python -m fuzz
test_fuzz.py   the seeds again, and some new inputs
"""
