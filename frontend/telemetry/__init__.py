"""What the gateway reports about itself: metrics, and a watch over its event loop."""
