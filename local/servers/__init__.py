"""The packaged servers: Postgres, Valkey and a model server with a small model."""
