"""The trusted gateway: the site on one origin with the agent's door in it, the visitor's page on another."""
