"""Files and texts that nobody meant: mutated by the hundred thousand, and what Limner makes of them."""
