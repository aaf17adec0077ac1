"""Tests over all processes, through the public interfaces only."""
