"""What this machine is: read-only questions to it, and the accelerators found with them.

Everything asks through a `Probe`, so tests describe any machine. Judges nothing.
"""

from toolkit.machine.gpus import Gpu, found_gpus
from toolkit.machine.probe import LocalProbe, Probe, Ran
from toolkit.machine.resources import cores, memory_bytes

__all__ = ["Gpu", "LocalProbe", "Probe", "Ran", "cores", "found_gpus", "memory_bytes"]
