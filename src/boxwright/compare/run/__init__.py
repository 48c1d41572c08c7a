"""The runs of a comparison: where they run, what each one does, and what it writes."""
