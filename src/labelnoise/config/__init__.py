"""A configuration: its options, composing, checking and explaining it, the values of papers, and a run's id."""
