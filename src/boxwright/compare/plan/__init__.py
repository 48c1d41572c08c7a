"""The options of a comparison, and the runs that follow from them."""
