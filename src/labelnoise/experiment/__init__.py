"""One configuration to one record: compose, check, name, assemble, run, write."""
