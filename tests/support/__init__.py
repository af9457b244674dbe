"""What tests share: small data and networks, reference formulas, made-up records, and the command line in this process."""
