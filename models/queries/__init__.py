"""Federated analytics: what a device puts into one private sum, and what a server may read from the noisy sum.

Each question is a pure pair, numpy only. The device's side turns local data into a float64 vector whose L2 norm has a
known bound; the server's side turns the released noisy sum into the answer. Neither side adds noise or knows epsilon:
that is the sum's business, and the bound stated here is what its clipping norm has to be.
"""
