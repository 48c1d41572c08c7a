"""Published weights that lie in packages: which there are, how their files are read, and where they are kept.

A package is a file here: it is fetched, or given, and read, and never installed or imported.
"""
