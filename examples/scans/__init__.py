"""A question answered with tools."""
