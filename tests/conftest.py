"""Puts this folder on the path, for what several tests share: data set builders, real data, pages as trees."""
