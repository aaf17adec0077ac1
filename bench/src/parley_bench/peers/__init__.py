"""The peers that Parley is compared with: short programs of common architectures, each run as a process of its own."""
