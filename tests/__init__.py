"""The tests of glimr_keras; a package, so that workers import the models that they share."""
