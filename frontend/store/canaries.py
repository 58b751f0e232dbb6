"""Canaries: their rows."""

from frontend.domain.canaries import Canary
from frontend.store.records import Records
from frontend.store.tables import canaries

CANARIES = Records(canaries, Canary, "canary")
