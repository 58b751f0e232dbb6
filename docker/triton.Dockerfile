# Triton for GPU hosts: NVIDIA's image with what our Python backends need beside vLLM.
# `docker build -f docker/triton.Dockerfile -t triton-toolkit/triton .`, then mount a repository that
# was built for the target of the same release, `toolkit build-repo --target container:26.08`.
ARG BASE=nvcr.io/nvidia/tritonserver:26.08-vllm-python-py3

FROM ${BASE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY docker/triton.lock /tmp/triton.lock
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes \
    --target /opt/python -r /tmp/triton.lock

FROM ${BASE}
# after the base's own packages: what it has stays what it is
COPY --from=build /opt/python /opt/triton-toolkit/python
RUN python3 -c "import site; print('/opt/triton-toolkit/python', file=open(site.getsitepackages()[0] + '/triton-toolkit.pth', 'w'))" \
 && install -d -o 10001 -g 10001 /models
COPY docker/healthcheck.py /opt/triton-toolkit/
COPY --chmod=755 docker/entrypoint.sh /usr/local/bin/triton-entrypoint
USER 10001:10001
WORKDIR /tmp
ENV HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VLLM_NO_USAGE_STATS=1 \
    TRITON_TOOLKIT_TARGET=container:26.08
EXPOSE 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s \
    CMD ["python3", "/opt/triton-toolkit/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["triton-entrypoint"]
