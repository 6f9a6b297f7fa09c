"""The subcommands of ``hearthside``, one module each, imported only when asked for."""
