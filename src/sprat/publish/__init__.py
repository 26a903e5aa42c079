"""From build to signed repository: write bundles, hold signing keys, sign and publish releases."""
