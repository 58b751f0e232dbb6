"""`toolkit doctor`: checks whether this machine can serve models, and how to fix what is missing.

Each check reads from a Machine and returns findings; every warning and error has a fix.
"""

from toolkit.doctor.checks import Setup, check
from toolkit.doctor.finding import as_json

__all__ = ["Setup", "as_json", "check"]
