"""Where the text of `code` steps is read and run: an interpreter of a small Python (Monty), always in processes of its own behind further walls.

Nothing else in the product imports that interpreter, and nothing in here ever evaluates such a text in its own process.
"""
