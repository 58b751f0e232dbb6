"""Traces of requests for OpenTelemetry: spans, their context, and where they are sent."""
