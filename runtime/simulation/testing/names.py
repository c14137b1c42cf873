"""How test files are called. Apart from the rest, because pytest asks for it for every file it sees."""

SUFFIXES = (".test.yaml", ".test.yml")
