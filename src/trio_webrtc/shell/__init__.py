"""The only room with I/O, and the last floor that knows Trio."""
