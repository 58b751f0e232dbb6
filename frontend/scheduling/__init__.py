"""Which waiting request runs next: fair shares by weight, counted in tokens."""
