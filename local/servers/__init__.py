"""The packaged servers: Postgres, Valkey and a small model."""
