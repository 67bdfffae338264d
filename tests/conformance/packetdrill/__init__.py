"""Plays packetdrill's SCTP scripts against `core.sctp`, on a clock that only moves as the script says.

`script` cuts a script into events, `notation` reads what stands for packets in it, `wire` knows what that is in bytes
(from RFC 9260, not from the library: its codecs do not vouch for themselves), `sockets` does what the user does, and
`player` lets it all happen.
"""
