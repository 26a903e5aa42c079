"""From offer to confirmed: decide which bundle runs on this device, and never run one that is not signed for it."""
