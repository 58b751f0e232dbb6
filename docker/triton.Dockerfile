# Triton for GPU hosts: NVIDIA's image with what our Python backends need beside its engine.
# `docker build -f docker/triton.Dockerfile -t triton-toolkit/triton .`, then mount a repository that was
# built for the same target, `toolkit build-repo --target container:26.08-vllm`. VARIANT is what follows
# the release in the target: `vllm` runs ONNX graphs in onnxruntime-gpu, in the Python backend;
# `vllm-onnx` copies Triton's onnxruntime backend from FULL, the release's -py3 image.
ARG RELEASE=26.08
ARG VARIANT=vllm
ARG BASE=nvcr.io/nvidia/tritonserver:${RELEASE}-vllm-python-py3
ARG FULL=${BASE}

FROM ${BASE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY docker/triton.lock /tmp/triton.lock
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes \
    --target /opt/python -r /tmp/triton.lock

# hadolint ignore=DL3006
FROM ${FULL} AS full
ARG VARIANT
RUN mkdir /tmp/added \
 && if [ "${VARIANT}" = vllm-onnx ]; then cp -r /opt/tritonserver/backends/onnxruntime /tmp/added/; fi

# hadolint ignore=DL3006
FROM ${BASE}
ARG RELEASE
ARG VARIANT
COPY --from=full /tmp/added/ /opt/tritonserver/backends/
# after the base's own packages, so that these are not replaced
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
    TRITON_TOOLKIT_TARGET=container:${RELEASE}-${VARIANT}
EXPOSE 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s \
    CMD ["python3", "/opt/triton-toolkit/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["triton-entrypoint"]
