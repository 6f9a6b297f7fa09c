"""The commands of ``hearthside-agent``, one module each group; what a command needs it imports when it runs."""
