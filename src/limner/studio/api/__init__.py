"""What the page asks the server: one module of routes for each thing there is."""
