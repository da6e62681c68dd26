"""What `make benchmark` measures: contestants around the pass, the cache and the heads."""
