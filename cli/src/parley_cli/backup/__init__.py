"""Everything that Parley has promised to keep, in one file, and back."""
