"""The tables of the documents, written from configurations, signatures and records: `labelnoise docs`."""
