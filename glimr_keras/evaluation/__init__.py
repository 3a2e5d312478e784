"""How well a search's result will do on new data: estimates, predictions, nested folds."""
