"""What sets a suspect off, learned by asking: random situations, a number to explain, and a rule that explains it."""
