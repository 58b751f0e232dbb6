"""Makes the gateway's parts from its settings; `app` puts them together."""
