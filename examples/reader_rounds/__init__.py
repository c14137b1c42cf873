"""A text that people comment on until they are content."""
