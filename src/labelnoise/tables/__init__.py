"""A paper's table: its cells, the ids of their records, and the published numbers beside them."""
