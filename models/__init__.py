"""The nouns that both ends share: events, questions, learning, personalisation and the wire."""
