"""Where training and conversion run: worker processes under limits, on this machine or a cluster, kept by content."""
