"""The gateway as a process: how signals end it, and how a supervisor sees that it is alive."""
