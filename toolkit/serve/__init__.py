"""Running what was built: Triton and the gateway as children that never outlive their parent."""
