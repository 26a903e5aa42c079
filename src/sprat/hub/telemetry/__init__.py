"""What comes back from devices: frames in, committed, acked, rolled up, watched."""
