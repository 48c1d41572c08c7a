"""Published weights in packages: the known ones, readers of their files, and the cache.

A package is treated as a file: it is fetched, or given, and read, but never installed or imported.
"""
