# The gateway alone, without Triton: `docker build -f docker/frontend.Dockerfile -t triton-toolkit/frontend .`
# It finds its models in the Triton that TRITON_FRONTEND_TRITON names.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
# EXTRAS=1 adds what artifacts in S3 and counting tokens with `tokenizer.json` need, 14 MB
ARG EXTRAS=
COPY docker/frontend.lock docker/frontend-extras.lock ./
RUN python3 -m venv /opt/gateway \
 && /opt/gateway/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes \
    -r frontend.lock ${EXTRAS:+-r frontend-extras.lock}
# symbols for debuggers; libraries that were patched after their build would break
RUN { command -v strip || { apt-get update && apt-get install -y --no-install-recommends binutils=2.*; }; } \
 && find /opt/gateway -name '*.so' -regex '.*/\(ml_dtypes\|uvloop\|aiohttp\|_websocket\|multidict\|yarl\|frozenlist\|propcache\|PIL\|_cython\|site-packages\|hiredis\|tokenizers\|cryptography/.*\|\(asyncpg\|httptools\|sqlalchemy\)/.*\|greenlet\)/[^/]*' \
    -exec strip --strip-unneeded {} +
COPY frontend frontend
# the gateway's own package, without what only installs or tests
RUN cp -r frontend /opt/gateway/lib/python3*/site-packages/ \
 && /opt/gateway/bin/python -m compileall -q /opt/gateway/lib/python3*/site-packages/frontend \
 && find /opt/gateway -type d \( -name tests -o -path '*/sqlalchemy/testing' -o -path '*/numpy/f2py' -o -path '*/numpy/typing' -o -path '*/site-packages/pycparser' \) -prune -exec rm -rf {} + \
 && find /opt/gateway/lib -path '*/sqlalchemy/dialects/*' -type d \( -name mssql -o -name mysql -o -name oracle \) -prune -exec rm -rf {} + \
 # parts of numpy and Pillow that are not used here: tests, the rendering of text, colour profiles
 && site=$(echo /opt/gateway/lib/python3*/site-packages) \
 && rm -rf "$site"/numpy/distutils "$site"/numpy/fft "$site"/numpy/ma "$site"/numpy/polynomial "$site"/numpy/random \
    "$site"/numpy/testing "$site"/numpy/_core/_simd.* "$site"/numpy/_core/_*_tests.* \
    "$site"/PIL/_imaging[a-z]* "$site"/pillow.libs/libfreetype-* "$site"/pillow.libs/libharfbuzz-* \
    "$site"/pillow.libs/libpng16-* "$site"/pillow.libs/libbrotli* "$site"/pillow.libs/liblcms2-* \
 # servers and test helpers of clients
 && rm -rf "$site"/aiohttp/web*.py "$site"/aiohttp/test_utils.py "$site"/aiohttp/pytest_plugin.py "$site"/tritonclient/http \
 # Google's own APIs, of which traces use only the errors
 && find "$site"/google -mindepth 1 -maxdepth 1 -type d ! -name protobuf ! -name _upb ! -name rpc -exec rm -rf {} + \
 && find /opt/gateway/lib \( -name 'swagger-ui-es-*' -o -name 'swagger-ui-standalone-*' -o -name swagger-ui.js \) -delete \
 # AWS's other services
 && { [ -z "$EXTRAS" ] || find "$site"/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 -exec rm -rf {} + ; } \
 # a decoder that requests must not reach
 && find /opt/gateway/lib \( -name 'libavif-*' -o -name '_avif.*' \) -delete \
 && find /opt/gateway/lib \( -name '*.map' -o -name '*.py[xi]' -o -name '*.pxd' -o -name '*.[ach]' \) -type f -delete \
 # compiles the modules that each start imports, and no others
 && /opt/gateway/bin/python -P -c 'import frontend.serve, PIL.Image, opentelemetry.exporter.otlp.proto.http.trace_exporter' \
 && /opt/gateway/bin/pip uninstall -q -y pip setuptools

FROM ${BASE}
COPY --from=build /opt/gateway /opt/gateway
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/triton-gateway
# the SQLite database, where TRITON_FRONTEND_DATABASE_URL names no other
VOLUME /var/lib/triton-gateway
USER 10001:10001
WORKDIR /tmp
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TRITON_FRONTEND_DATA_DIRECTORY=/var/lib/triton-gateway \
    TRITON_FRONTEND_HOST=0.0.0.0 \
    TRITON_FRONTEND_PORT=9000 \
    TRITON_FRONTEND_TRITON=triton:8001
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9000/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-P", "-m", "frontend"]
