"""HTTP: bounded requests in, bytes out. The route table is `frontend.app`."""
