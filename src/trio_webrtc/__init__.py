"""WebRTC for Trio."""
