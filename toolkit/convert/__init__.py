"""Converts published weights to the files of the steps, one folder per step, and collects facts.

Each module below imports its heavy libraries at its top and is imported only when it is needed.
"""
