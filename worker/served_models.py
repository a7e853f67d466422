"""The models that a worker serves: their configuration, and the state of their servers across reloads."""

from dataclasses import dataclass

from core.config.catalog import Catalog, ModelConfig
from core.config.live_catalog import LiveCatalog
from worker.models.endpoints import Endpoints


@dataclass(frozen=True)
class ServedModel:
    """A model that a run uses from beginning to end, even if the configuration changes during the run.

    Args:
        endpoints: the servers of the model, with their states in this process.
    """

    config: ModelConfig
    endpoints: Endpoints


class ServedModels:
    """The models of the current configuration, for use on the event loop.

    A server keeps its state across reloads as long as its model keeps the server. Runs that began before a reload
    continue to use the earlier objects.
    """

    def __init__(self, live_catalog: LiveCatalog) -> None:
        self._live_catalog = live_catalog
        self._catalog = Catalog({})  # the configuration from which `_models` was built
        self._models: dict[str, ServedModel] = {}

    def find_model(self, name: str) -> ServedModel | None:
        """Return the model with this name in the current configuration, or None."""
        catalog = self._live_catalog.current
        if catalog is not self._catalog:
            self._models = {name: self._build_model(name, config) for name, config in catalog.models.items()}
            self._catalog = catalog
        return self._models.get(name)

    def _build_model(self, name: str, config: ModelConfig) -> ServedModel:
        earlier_model = self._models.get(name)
        if earlier_model is None:
            return ServedModel(config, Endpoints(config.endpoints))
        return ServedModel(config, earlier_model.endpoints.with_base_urls(config.endpoints))
