"""A study file and what it means: the file, its lists (`grid`), the `Study`, and the `Design` that it becomes once."""
