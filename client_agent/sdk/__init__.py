"""The collection SDK: one ES module without dependencies, served by the gateway on the site's own origin."""
