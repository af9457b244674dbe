"""The report: one HTML page over a folder of records, beside the published numbers (`labelnoise report`)."""
