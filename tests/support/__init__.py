"""What tests share: small data and networks, reference formulas, made-up records, the command line."""
