"""Where requests go. Triton is the only kind so far."""
