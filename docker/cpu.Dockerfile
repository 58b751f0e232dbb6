# Triton without a GPU, and the gateway in front: what `toolkit serve` runs, as an image.
# `docker build -f docker/cpu.Dockerfile -t triton-toolkit/cpu .`, then mount a repository that was
# built for the target `embedded` at /models. With `--triton-only` it is a Triton on port 8001.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# where pip finds torch: with an index or folder of its CPU builds, CUDA is not installed
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ENV PATH=/opt/toolkit/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    TRITON_FRONTEND_DATA_DIRECTORY=/var/lib/triton-gateway \
    TRITON_TOOLKIT_HOME=/opt/triton-toolkit
# One stage, with the source mounted: to copy these gigabytes into a second one takes a minute.
RUN --mount=type=bind,source=requirements,target=/src/requirements \
    python3 -m venv /opt/toolkit \
 && pip install --no-deps --require-hashes -r /src/requirements/base.lock
RUN --mount=type=bind,source=toolkit,target=/src/toolkit \
    --mount=type=bind,source=frontend,target=/src/frontend \
    --mount=type=bind,source=python_backends,target=/src/python_backends \
    --mount=type=bind,source=docker,target=/src/docker \
    cp -r /src/toolkit /src/frontend /src/python_backends /opt/toolkit/lib/python3*/site-packages/ \
 && cp /src/docker/healthcheck.py /opt/toolkit/ \
 && ln -s ../lib/toolkit /opt/toolkit/bin/toolkit \
 && printf '#!/opt/toolkit/bin/python -P\nfrom toolkit.cli import main\nmain()\n' > /opt/toolkit/lib/toolkit \
 && chmod +x /opt/toolkit/lib/toolkit
# Triton and the environments of its models, so that a container starts without a network
# Both environments have torch: equal libraries are stored once. Only libraries, because Python
# compares the time of a module with the time in its bytecode.
RUN toolkit prepare \
 && rm -rf "${TRITON_TOOLKIT_HOME}/wheels" \
 && hardlink --quiet --ignore-time --include '\.so' "${TRITON_TOOLKIT_HOME}/environments" \
 && install -d -o 10001 -g 10001 /opt/triton-toolkit/logs /opt/triton-toolkit/running /models \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/triton-gateway
# the gateway's SQLite database, where TRITON_FRONTEND_DATABASE_URL names no other
VOLUME /var/lib/triton-gateway
USER 10001:10001
WORKDIR /tmp
ENV HOME=/tmp
EXPOSE 9000 8001
# loading a language model takes minutes
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s CMD ["python", "/opt/toolkit/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["toolkit", "serve", "/models", "--host", "0.0.0.0"]
