"""Small helpers that several layers share. They import nothing of boxwright but its errors."""
