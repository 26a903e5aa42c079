"""Where the device's own programs run: here, in another environment, or on a device over ssh."""
