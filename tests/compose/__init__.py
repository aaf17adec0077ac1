"""What people do with `docker compose`, on a real engine: that of DOCKER_HOST, or of `docker` in PATH."""
