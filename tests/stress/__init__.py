"""Kills and races of every program that writes. `make stress` runs it; two of each run in `make check`.

warm.py         programs as copies of a process that has loaded torch, and what ends them
contents.py     what a folder holds, without what a clock decides
commands.py     the programs that write, each on data that takes a second
kills.py        one program, ended at any moment and repeated to its end
races.py        two programs at once, on the same files
table.py        what is printed at the end
__main__.py     python -m stress
test_stress.py  two of each
"""
