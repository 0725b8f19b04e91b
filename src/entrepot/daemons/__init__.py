"""Entry points of the daemons, one module for each systemd unit."""
