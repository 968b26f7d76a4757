"""The zoo of suspects with known truth: recipes from a seed, organisms and controls made from them, blind folders."""
