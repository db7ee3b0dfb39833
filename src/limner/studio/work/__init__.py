"""What workers do: one module for each kind of job. Only workers import these."""
