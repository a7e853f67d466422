"""The configuration file, backburner.toml: models, limits, lanes and tiers."""
