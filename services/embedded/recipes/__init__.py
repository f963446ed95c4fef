"""One training recipe per checkpoint: a module whose `RECIPE` is a `services.embedded.training.recipe.Recipe`."""
