"""One Triton server: its gRPC, its tensors, its contract."""
