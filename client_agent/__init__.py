"""The edge: what runs on a person's device, or on a gateway that several people trust.

The resident process stays light: importing this package loads neither torch, Flower nor dp-accounting. Taking part in
a study is the business of a short-lived worker (``client_agent.federation.worker``).
"""
