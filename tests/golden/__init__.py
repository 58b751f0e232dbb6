"""Transcripts of the default language model: requests, the events that the real engine sent, and
what the gateway made of them. `python -m tests.golden` records them again.
"""
