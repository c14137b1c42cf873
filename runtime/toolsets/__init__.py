"""Tools that others offer: operations of HTTP APIs, tools of MCP servers. What they say is untrusted, bounded, and journalled by whoever asks."""
