"""The canonical requests, results and events that every dialect translates to and from.

Plain data: no I/O, no wire format, no knowledge of dialects. Names include their units.
"""
