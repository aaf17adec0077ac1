"""Tests of `deploy/`: on real programs where they are available, otherwise against rules."""
