"""Protocols as plain objects: bytes and time go in, bytes and events come out. No I/O, no clock, no tasks."""
