"""The console for a browser on this machine: a small HTTP server in front of one console for each page."""
