"""The agent's own pages, server-rendered, without external files."""
