"""What `deploy/` holds is tried for real where it can be, and held to its rules where it cannot."""
