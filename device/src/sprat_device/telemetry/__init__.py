"""From a record to the hub's ack: recorder, spool, uplink."""
