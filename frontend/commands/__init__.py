"""The sub-commands of `triton-gateway` besides `serve`, which is in `frontend.serve`."""
