"""Is it good: figures with their floor and ceiling, by an evaluator that took no part in training."""
