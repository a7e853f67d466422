# The image of all parts: API, worker, sweeper, Flower and the migration. `backburner --help` lists the commands.
FROM python:3.13-slim AS build
ENV PATH=/opt/backburner/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/backburner
WORKDIR /src
COPY requirements/runtime.txt requirements/
RUN pip install --no-deps --require-hashes -r requirements/runtime.txt
COPY pyproject.toml LICENSE ./
COPY app app
COPY cli cli
COPY core core
COPY local local
COPY migrations migrations
COPY worker worker
RUN pip install --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin backburner
COPY --from=build /opt/backburner /opt/backburner
ENV PATH=/opt/backburner/bin:$PATH \
    BACKBURNER_HOST=0.0.0.0 \
    BACKBURNER_CONFIG=/etc/backburner/backburner.toml
WORKDIR /srv
USER backburner
EXPOSE 8080 5555
CMD ["backburner", "--help"]
