"""How the shipped weights are made: python -m recipes.train_shipped, python -m recipes.train_zoo."""
