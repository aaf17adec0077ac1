"""What the tests stand on: real servers, service processes, waiting with a deadline."""
