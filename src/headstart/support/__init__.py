"""What every program needs and no other folder owns: files, progress, devices, memory.

    plain_files.py  plain files that are opened, and no links, pipes or devices
    files.py        files that appear whole, or that one process writes; CSV and JSON
    locking.py      one process at a time for a file or a folder
    passing.py      errors that may end while a file is sound: nothing is lost by them
    hdf5.py         HDF5 files that may be damaged; texts in them of a fixed length
    strangers.py    files that may be damaged, or come from a stranger: JSON of known types
    checksums.py    checksums of the files of a run, compared when they are read
    remote.py       objects on servers as paths, read with fsspec
    ctrl_c.py       a program that is stopped while it loads ends without a traceback
    surroundings.py what of the machine is missing or full, in words
    output.py       a closed pipe and characters that the output lacks are no error
    progress.py     a progress bar, and lines where there is no terminal
    quantities.py   bytes and time spans as people write them
    devices.py      which device, and how much memory it has
    memory.py       freed memory that is kept for the next batch (glibc)
    matmul.py       products of matrices in fp32 at full speed
    recording.py    work on a GPU that is repeated as a CUDA graph
    neighbours.py   exact nearest neighbours, block by block
    threads.py      many short calls in threads
    thread_count.py one of torch's threads or all, by what was faster lately
    apart.py        work on separate cores, each by one of torch's threads
    overlap.py      a batch that is computed while the next is prepared
    cluster.py      work as tasks of Ray
    team.py         the processes that torchrun starts to train together

Imports `errors` alone.
"""
