"""What outlives a request: the only package that knows SQL."""
