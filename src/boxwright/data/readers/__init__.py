"""One reader a layout: a file that says what the layout is called, what it is known by, and how it is read."""
