"""Chooses the waiting request that runs next: fair shares by weight, counted in tokens."""
