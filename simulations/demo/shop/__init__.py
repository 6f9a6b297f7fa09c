"""A small shop to show personalisation in: pages with default content, and slots that an agent may fill."""
