"""Callers, their keys and roles, and what they may do: rules without SQL, HTTP or dialects."""
