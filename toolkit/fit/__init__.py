"""`toolkit fit`: will a catalogue fit a machine? Memory, KV cache, threads, placement, remedies.

Reads configs and headers of weights, never the weights themselves; starts nothing.
"""

from toolkit.fit.catalogue import Fit, Question, fit_catalogue
from toolkit.fit.devices import Device, devices_of, parse_gpus, parse_size

__all__ = [
    "Device",
    "Fit",
    "Question",
    "devices_of",
    "fit_catalogue",
    "parse_gpus",
    "parse_size",
]
