"""What both sides say: plain values, parsed and dumped, without files, clocks or sockets.

The slowest-moving party owns the contract: devices in the field cannot be changed at will, so these modules ship with
the agent and the host imports them. Readers are liberal (unknown fields survive), writers exact; every document carries
a schema name with its major version.
"""
