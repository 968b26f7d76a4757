"""What the numbers say of a claim: effects, the strength gate, censored times, and the verdict."""
