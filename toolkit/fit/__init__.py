"""`toolkit fit`: estimates whether a spec fits a machine: memory, KV cache, threads, placement.

Reads configs and headers of weights, never the weights themselves; starts nothing.
"""

from toolkit.fit.devices import Device, devices_of, parse_gpus, parse_size
from toolkit.fit.models import fit_models
from toolkit.fit.result import Fit, Question

__all__ = [
    "Device",
    "Fit",
    "Question",
    "devices_of",
    "fit_models",
    "parse_gpus",
    "parse_size",
]
