"""Reads the hardware, the system and the accelerators of this machine.

All checks read a `Machine`, so tests can describe any machine. It does not judge what it reads.
"""

from toolkit.machine.gpus import Gpu, list_gpus
from toolkit.machine.local import LocalMachine, Machine, Ran
from toolkit.machine.resources import cores, memory_bytes

__all__ = ["Gpu", "LocalMachine", "Machine", "Ran", "cores", "list_gpus", "memory_bytes"]
