"""What a comparison is asked for, and what will be run for it."""
