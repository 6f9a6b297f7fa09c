"""Models trained together: nets, local training, server steps.

Importing this package loads nothing heavy. ``nets``, ``registry``, ``evaluation``, ``server_optimisers`` and ``plans``
are numpy only, so that a resident agent can score with them; ``local_training`` and ``vectorised`` load torch (the
former Opacus too) and ``flower_identity`` loads Flower when called: they belong in a short-lived worker or a server.
"""
