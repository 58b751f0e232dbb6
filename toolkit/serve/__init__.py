"""Runs a built repository: Triton and the gateway as child processes that end with their parent."""
