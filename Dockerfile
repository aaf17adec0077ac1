# Parley's images: `docker build --target gateway .`, and so on for chat-store, llm-worker, push, tools.
#
#   web ────────────────────────────┐
#   build ─▶ <service>-build ─▶ <service>     (each on `service`, that on `runtime`)
#
# The other images of compose are at the end: third-party servers with our configuration.
#
# Bases are pinned by tag. For a build that is repeatable to the byte, add the digest that you have checked:
# PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:… (`docker buildx imagetools inspect` shows it). Both are there for
# linux/amd64 and linux/arm64; nothing is compiled, so `docker buildx build --platform linux/amd64,linux/arm64` needs no
# cross compiler. Python 3.11 is what the tests run on.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG NODE_IMAGE=node:24-bookworm-slim
ARG NATS_IMAGE=nats:2.15-alpine
ARG POSTGRES_IMAGE=postgres:18-bookworm
ARG NGINX_IMAGE=nginx:1.28-alpine
ARG PROMETHEUS_IMAGE=prom/prometheus:v3.5.0
ARG OTEL_COLLECTOR_IMAGE=otel/opentelemetry-collector:0.136.0
ARG TEMPO_IMAGE=grafana/tempo:2.8.2
ARG GRAFANA_IMAGE=grafana/grafana:12.2.0

# --- the page ---------------------------------------------------------------------------------------------------------
# Its result is the same for every platform, so it is built on the one that builds.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS web
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
COPY clients/typescript/package.json clients/typescript/
COPY web/package.json web/
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY tsconfig.base.json ./
COPY clients/typescript/ clients/typescript/
COPY web/ web/
WORKDIR /src/web
# Readable for the user that serves it, whatever the umask that the files were checked out with.
RUN npm run build && chmod -R a+rX dist

# --- the services: one virtual environment each, made by pip from requirements.lock -----------------------------------
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PREFIX=/opt/parley TOOLS=/opt/build
COPY requirements.lock ./
COPY deploy/docker/install.py deploy/docker/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py packages "$TOOLS" hatchling editables
COPY shared/pyproject.toml shared/

FROM build AS gateway-build
COPY services/gateway/pyproject.toml services/gateway/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py dependencies services/gateway "$PREFIX"
COPY shared/ shared/
COPY services/gateway/ services/gateway/
RUN python deploy/docker/install.py project services/gateway "$PREFIX" "$TOOLS"

FROM build AS chat-store-build
COPY services/chat-store/pyproject.toml services/chat-store/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py dependencies services/chat-store "$PREFIX"
COPY shared/ shared/
COPY services/chat-store/ services/chat-store/
RUN python deploy/docker/install.py project services/chat-store "$PREFIX" "$TOOLS"

FROM build AS llm-worker-build
COPY services/llm-worker/pyproject.toml services/llm-worker/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py dependencies services/llm-worker "$PREFIX"
COPY shared/ shared/
COPY services/llm-worker/ services/llm-worker/
RUN python deploy/docker/install.py project services/llm-worker "$PREFIX" "$TOOLS"

FROM build AS push-build
COPY services/push/pyproject.toml services/push/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py dependencies services/push "$PREFIX"
COPY shared/ shared/
COPY services/push/ services/push/
RUN python deploy/docker/install.py project services/push "$PREFIX" "$TOOLS"

FROM build AS tools-build
COPY services/gateway/pyproject.toml services/gateway/
COPY services/chat-store/pyproject.toml services/chat-store/
COPY services/llm-worker/pyproject.toml services/llm-worker/
COPY services/push/pyproject.toml services/push/
COPY clients/python/pyproject.toml clients/python/
COPY cli/pyproject.toml cli/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py dependencies cli "$PREFIX"
COPY shared/ shared/
COPY services/ services/
COPY clients/python/ clients/python/
COPY cli/ cli/
RUN python deploy/docker/install.py project cli "$PREFIX" "$TOOLS"

# --- what all images share --------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS runtime
RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin parley
ENV PATH=/opt/parley/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Parley" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /
USER 10001:10001
STOPSIGNAL SIGTERM

# Of the services alone: the `parley` command reads the same variables.
FROM runtime AS service
ENV HOST=0.0.0.0 \
    HEALTH_HOST=0.0.0.0 \
    LOG_FORMAT=json
COPY --chmod=0755 deploy/docker/health.py /opt/health.py
# The process only: what it depends on is /readyz, and an outage of NATS or Postgres must not restart everything.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s --retries=3 \
  CMD ["python", "-I", "/opt/health.py", "HEALTH_PORT", "/healthz", "200"]

# --- the images -------------------------------------------------------------------------------------------------------
FROM service AS gateway
LABEL org.opencontainers.image.title="parley-gateway" \
      org.opencontainers.image.description="The HTTP edge of Parley, and its page"
# The gateway answers probes on the port that it serves: no HEALTH_PORT.
ENV PORT=8000 WEB_DIST=/opt/web
COPY --from=web /src/web/dist/ /opt/web/
COPY --from=gateway-build /opt/parley/ /opt/parley/
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s --retries=3 \
  CMD ["python", "-I", "/opt/health.py", "PORT", "/healthz", "200", "PORT", "/v1/config", "200"]
ENTRYPOINT ["python", "-m", "gateway"]

FROM service AS chat-store
LABEL org.opencontainers.image.title="parley-chat-store" \
      org.opencontainers.image.description="Persists chats in Postgres and answers reads; `migrate` prepares schema and streams"
ENV HEALTH_PORT=9000
COPY --from=chat-store-build /opt/parley/ /opt/parley/
EXPOSE 9000
ENTRYPOINT ["python", "-m", "chat_store"]

FROM service AS llm-worker
LABEL org.opencontainers.image.title="parley-llm-worker" \
      org.opencontainers.image.description="Streams answers from an OpenAI-compatible API"
ENV HEALTH_PORT=9000
COPY --from=llm-worker-build /opt/parley/ /opt/parley/
EXPOSE 9000
ENTRYPOINT ["python", "-m", "llm_worker"]

FROM service AS push
LABEL org.opencontainers.image.title="parley-push" \
      org.opencontainers.image.description="Fans answers out to websockets"
ENV PORT=8001 HEALTH_PORT=9000
COPY --from=push-build /opt/parley/ /opt/parley/
EXPOSE 8001 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s --retries=3 \
  CMD ["python", "-I", "/opt/health.py", "HEALTH_PORT", "/healthz", "200", "PORT", "/ws", "426"]
ENTRYPOINT ["python", "-m", "push"]

# The `parley` command for operators, and the demo model; it runs no service.
FROM runtime AS tools
LABEL org.opencontainers.image.title="parley-tools" \
      org.opencontainers.image.description="The parley command: demo model, dead letters, backup, doctor"
COPY --from=tools-build /opt/parley/ /opt/parley/
ENTRYPOINT ["parley"]

# --- for compose ------------------------------------------------------------------------------------------------------
# Files in images rather than mounted: compose compares images, so a change of a file restarts its reader, and no other.

# The demo model without the services: it does not restart with them.
FROM build AS demo-model-build
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py packages "$PREFIX" httptools msgspec uvloop

FROM runtime AS demo-model
ENV PYTHONPATH=/opt/tools
COPY --from=demo-model-build /opt/parley/ /opt/parley/
COPY --chmod=0755 cli/src/parley_cli/__init__.py /opt/tools/parley_cli/
COPY --chmod=0755 cli/src/parley_cli/embedded/__init__.py cli/src/parley_cli/embedded/errors.py /opt/tools/parley_cli/embedded/
COPY --chmod=0755 cli/src/parley_cli/demo_model/ /opt/tools/parley_cli/demo_model/
ENTRYPOINT ["python", "-m", "parley_cli.demo_model"]

FROM ${PYTHON_IMAGE} AS secrets
COPY --chmod=0755 deploy/secrets/make_secrets.py /opt/make_secrets.py
ENTRYPOINT ["python", "-I", "/opt/make_secrets.py"]

FROM ${NATS_IMAGE} AS nats
COPY --chmod=0644 deploy/nats/nats-server.conf /etc/nats/nats-server.conf
COPY --chmod=0644 deploy/nats/authorization.conf /etc/nats/authorization/authorization.conf

FROM ${POSTGRES_IMAGE} AS postgres
COPY --chmod=0644 deploy/postgres/roles.sql deploy/postgres/privileges.sql /etc/parley/
COPY --chmod=0755 deploy/postgres/10-roles.sh /docker-entrypoint-initdb.d/10-roles.sh

FROM ${NGINX_IMAGE} AS proxy
COPY --chmod=0644 deploy/proxy/nginx.conf /etc/nginx/nginx.conf

FROM ${PROMETHEUS_IMAGE} AS prometheus
COPY --chmod=0644 deploy/prometheus/prometheus.yml /etc/prometheus/prometheus.yml
COPY --chmod=0755 deploy/prometheus/rules/ /etc/prometheus/rules/

FROM ${OTEL_COLLECTOR_IMAGE} AS otel-collector
COPY --chmod=0644 deploy/otel/collector.yaml /etc/otelcol/config.yaml

FROM ${TEMPO_IMAGE} AS tempo
COPY --chmod=0644 deploy/tempo/tempo.yaml /etc/tempo.yaml

FROM ${GRAFANA_IMAGE} AS grafana
COPY --chmod=0755 deploy/grafana/provisioning/ /etc/grafana/provisioning/
COPY --chmod=0755 deploy/grafana/dashboards/ /etc/parley/dashboards/
