"""The one path that every request takes, whatever its dialect: admit → infer → account."""
