"""What the choices of a recipe are worth on real cells, by training with and without each."""
