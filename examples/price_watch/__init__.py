"""Many offers checked side by side, some of which fail."""
