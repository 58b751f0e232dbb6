"""Each route reads, translates, runs and renders. The route table is `frontend.app`."""
