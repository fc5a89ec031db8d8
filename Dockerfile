# Weir in a container. It writes to /tmp and /var/lib/weir only, so the root file system may be read-only:
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:8000:8000 weir
# Without WEIR_DATABASE_URL and WEIR_REDIS_URL it starts the servers from their wheels, with their data in the volume.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/weir
# First the dependencies, which change seldom; wheels only, so that nothing is built from source. pip compiles them.
COPY requirements/runtime.lock requirements/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --require-hashes --no-deps --only-binary=:all: -r requirements/runtime.lock \
    && /opt/venv/bin/python -m pip uninstall --yes pip
COPY app app
COPY migrations migrations
# Bytecode that is valid by its hash: a copy with other time stamps keeps it.
RUN python -m compileall -q --invalidation-mode unchecked-hash app migrations

FROM ${PYTHON}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="A self-hosted, OpenAI-compatible API with budgets and a cost ledger" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The number is fixed because volumes, Kubernetes' runAsUser and backups refer to it.
RUN groupadd --gid 10001 weir \
    && useradd --uid 10001 --gid weir --no-create-home --home-dir /var/lib/weir --shell /usr/sbin/nologin weir \
    && install --directory --owner=weir --group=weir --mode=0700 /var/lib/weir

COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/weir/app /opt/weir/app
COPY --from=build /opt/weir/migrations /opt/weir/migrations
COPY LICENSE /opt/weir/
COPY --chmod=0755 docker/weir /usr/local/bin/weir

ENV PATH="/opt/venv/bin:${PATH}" \
    PYTHONPATH=/opt/weir \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WEIR_DATA_DIR=/var/lib/weir \
    WEIR_SERVER__HOST=0.0.0.0
WORKDIR /var/lib/weir
USER 10001:10001
VOLUME /var/lib/weir
EXPOSE 8000
# Liveness only: an unhealthy PostgreSQL is no reason to restart Weir. http.client takes no proxy from the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; \
        port = int(os.environ.get('WEIR_SERVER__PORT') or 8000); \
        weir = http.client.HTTPConnection('127.0.0.1', port, timeout=4); \
        weir.request('GET', '/healthz'); \
        sys.exit(weir.getresponse().status != 200)"]
# Weir stops accepting, lets streams and settlements finish within WEIR_SERVER__SHUTDOWN_GRACE_SECONDS, and ends.
STOPSIGNAL SIGTERM
CMD ["python", "-m", "app", "serve"]
