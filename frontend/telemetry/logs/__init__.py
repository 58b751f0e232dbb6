"""The gateway's log: lines without secrets and prompts, and where they are written."""
