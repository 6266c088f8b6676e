"""One TOML file -> frozen models. `load` reads it, `models` says what may stand in it."""
