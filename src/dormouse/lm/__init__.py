"""Language models: find and load them, train them (one loop), score and sample them. Knows nothing of policies."""
