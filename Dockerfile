# Parley's images: `docker build --target gateway .`, and so on for chat-store, llm-worker, push, tools.
#
#   web ────────────────────────────┐
#   build ─▶ <service>-build ─▶ <service>     (each on `runtime`)
#
# Bases are pinned by tag. For a build that is repeatable to the byte, add the digest that you have checked:
# PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:… (`docker buildx imagetools inspect` tells it). Both are there for
# linux/amd64 and linux/arm64; nothing is compiled, so `docker buildx build --platform linux/amd64,linux/arm64` needs no
# cross compiler. Python 3.11 is what the tests run on.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG NODE_IMAGE=node:24-bookworm-slim

# --- the page ---------------------------------------------------------------------------------------------------------
# Its result is the same for every platform, so it is built on the one that builds.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

# --- the services: one virtual environment each, made by pip from requirements.lock -----------------------------------
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PREFIX=/opt/parley TOOLS=/opt/build
COPY requirements.lock ./
COPY deploy/docker/install.py deploy/docker/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py tools "$TOOLS"
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
COPY services/ services/
COPY tools/ tools/
RUN --mount=type=cache,target=/root/.cache/pip python deploy/docker/install.py dependencies tools "$PREFIX"
COPY shared/ shared/
RUN python deploy/docker/install.py project tools "$PREFIX" "$TOOLS"

# --- what all images share --------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS runtime
RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin parley
ENV PATH=/opt/parley/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    HEALTH_HOST=0.0.0.0 \
    HEALTH_PORT=9000 \
    LOG_FORMAT=json
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Parley" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /
USER 10001:10001
STOPSIGNAL SIGTERM
# The process only: what it depends on is /readyz, and an outage of NATS or Postgres must not restart everything.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --start-interval=1s --retries=3 \
  CMD ["python", "-I", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['HEALTH_PORT']), timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]

# --- the images -------------------------------------------------------------------------------------------------------
FROM runtime AS gateway
LABEL org.opencontainers.image.title="parley-gateway" \
      org.opencontainers.image.description="The HTTP edge of Parley, and its page"
# The gateway answers probes on the port that it serves.
ENV PORT=8000 HEALTH_PORT=8000 WEB_DIST=/opt/web
COPY --from=web /src/web/dist/ /opt/web/
COPY --from=gateway-build /opt/parley/ /opt/parley/
EXPOSE 8000
ENTRYPOINT ["python", "-m", "gateway"]

FROM runtime AS chat-store
LABEL org.opencontainers.image.title="parley-chat-store" \
      org.opencontainers.image.description="Persists chats in Postgres and answers reads; `migrate` prepares schema and streams"
COPY --from=chat-store-build /opt/parley/ /opt/parley/
EXPOSE 9000
ENTRYPOINT ["python", "-m", "chat_store"]

FROM runtime AS llm-worker
LABEL org.opencontainers.image.title="parley-llm-worker" \
      org.opencontainers.image.description="Streams answers from an OpenAI-compatible API"
COPY --from=llm-worker-build /opt/parley/ /opt/parley/
EXPOSE 9000
ENTRYPOINT ["python", "-m", "llm_worker"]

FROM runtime AS push
LABEL org.opencontainers.image.title="parley-push" \
      org.opencontainers.image.description="Fans answers out to websockets"
ENV PORT=8001
COPY --from=push-build /opt/parley/ /opt/parley/
EXPOSE 8001 9000
ENTRYPOINT ["python", "-m", "push"]

# An operator's hands, and the demo model; it runs no service.
FROM runtime AS tools
LABEL org.opencontainers.image.title="parley-tools" \
      org.opencontainers.image.description="The parley command: demo model, dead letters, backup, doctor"
COPY --from=tools-build /opt/parley/ /opt/parley/
HEALTHCHECK NONE
ENTRYPOINT ["parley"]
