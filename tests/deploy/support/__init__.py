"""Servers run from the files in `deploy/`."""
