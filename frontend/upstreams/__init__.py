"""The servers that requests are sent to: their kinds, their state, and the choice of one."""
