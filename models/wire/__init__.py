"""Every message between device, leader, helper and officer: frozen, versioned, unknown fields forbidden.

Nothing here loads torch or Flower: the resident agent and the services read these types at start-up.
"""
