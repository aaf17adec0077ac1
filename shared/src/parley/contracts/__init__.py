"""What travels between the parts of Parley: data only, no input or output."""
