"""`toolkit doctor`: what this machine has and lacks for serving models, and what to do about it.

Each check asks a Probe and returns findings; a finding that is not `ok` carries its remedy.
"""

from toolkit.doctor.examination import Request, examine
from toolkit.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "Request", "examine"]
