"""Reproducible measurements beside peers, in one run on one machine, as ratios: `make bench`."""
