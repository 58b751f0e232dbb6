"""What the gateway tells about itself: metrics, and a watch over its event loop."""
