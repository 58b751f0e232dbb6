"""Weights as published → what the steps read: one folder per step, and the facts for the configs.

Each module below imports its heavy libraries at its top and is imported only when it is needed.
"""
