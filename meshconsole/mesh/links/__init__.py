"""One Link over two pipes: WebSocket and WebRTC data channel."""
