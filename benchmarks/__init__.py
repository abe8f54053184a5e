"""Benchmarks: ratios against a named alternative, measured in the same run. `make bench` prints them all."""
