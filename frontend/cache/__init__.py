"""The response cache: returns a stored answer for an equal request of the same owner."""
