"""Side by side with other programs, and methods with each other: run by hand, in minutes or hours."""
