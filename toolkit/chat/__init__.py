"""A chat in the terminal with a running gateway: its client, its commands and its line editor.

Talks HTTP only; how the service was found or started is for `toolkit.cli` to know.
"""
