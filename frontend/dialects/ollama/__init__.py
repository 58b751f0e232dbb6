"""Ollama's wire protocol: its requests → canonical ones, events → its answers. Pure."""
