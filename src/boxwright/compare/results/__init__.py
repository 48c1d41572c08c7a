"""What a comparison found: the numbers, their noise, and the files and page that say so."""
