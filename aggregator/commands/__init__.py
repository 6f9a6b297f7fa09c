"""The commands of ``hearthside-aggregator``, a file for each kind. What a command needs is loaded when it runs."""
