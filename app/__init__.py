"""The HTTP edge: parse, call one use case, render."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import auth, cors, direct, errors, rate_limits, request_ids
from app.endpoints import docs, health, lists, models, projects, prompts, responses
from core.bootstrap import Core


def create_app(core: Core) -> Flask:
    """The WSGI application over `core`."""
    app = Flask("backburner", static_folder=None)
    # Refuses by Content-Length and stops reading there; app.parsing refuses what has no length.
    app.config["MAX_CONTENT_LENGTH"] = core.settings.body_limit_bytes
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # would answer `//` with a redirect page
    request_ids.install(app)
    rate_limits.install(app)
    errors.install(app)
    cors.install(app, core.settings.allowed_origins)
    auth.install(app, core.keys)
    if hops := core.settings.trusted_proxies:
        # Else what a client says of itself in X-Forwarded-… would be believed.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops)  # type: ignore[method-assign]
    app.register_blueprint(health.blueprint(core))
    app.register_blueprint(docs.blueprint())
    app.register_blueprint(models.blueprint(core.catalog))
    app.register_blueprint(prompts.blueprint(core))
    app.register_blueprint(projects.blueprint(core))
    app.register_blueprint(lists.blueprint(core.responses))
    app.register_blueprint(responses.blueprint(core))
    app.wsgi_app = direct.Direct(app, core)  # type: ignore[method-assign]
    return app
