"""HTTP: the server below the application, bounded reads, answers.

It does not depend on routes or dialects.
"""
