"""The model one starts from."""
