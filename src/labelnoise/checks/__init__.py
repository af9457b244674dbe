"""What the project's tests ask of its own parts, asked of any configuration's: `labelnoise check`."""
