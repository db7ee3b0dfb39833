"""Pictures looked at before they are learned from: each by itself, then as a set."""
