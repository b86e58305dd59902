"""Side-by-side measurements of this project's parts and MMDetection's own."""
