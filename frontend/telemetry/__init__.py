"""What the gateway reports about itself: metrics, traces, logs, and a watch over its event loop."""
