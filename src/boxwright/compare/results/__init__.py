"""The results of a comparison: the numbers, their noise, and the files and page that present them."""
