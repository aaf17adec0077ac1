"""Kill everything, lose nothing: a seeded run against a whole stack."""
