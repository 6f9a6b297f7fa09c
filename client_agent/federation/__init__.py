"""Taking part: trust in a round, a device's contribution to it, and the Flower app that computes real answers.

Read in order: ``trust`` (what a round must prove), ``rounds`` (those that did), ``budgets``, ``contribution``
(sans-I/O: charge, null, coin, real), ``federation`` (the same for everyone behind this agent, durable), ``mods`` and
``app`` (Flower), ``worker`` (the loop).
"""
