#!/usr/bin/env bash
# Serves /models with Triton, once it is sure that they were built for it. Arguments go to tritonserver.
set -euo pipefail

repository=${TRITON_TOOLKIT_REPOSITORY:-/models}
wanted=$TRITON_TOOLKIT_TARGET
if [ ! -e "$repository/repository.json" ] && ! compgen -G "$repository/*/config.pbtxt" > /dev/null; then
    echo "error: $repository holds no models" >&2
    echo "hint: build them and mount them: toolkit build-repo --target $wanted --output models," \
        "then docker run -v \$PWD/models:/models:ro …" >&2
    exit 2
fi
built=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["target"])' \
    "$repository/repository.json" 2>/dev/null || echo "$wanted") # hand-written ones do not say
if [ "$built" != "$wanted" ]; then
    echo "error: $repository was built for the target '$built', this image is '$wanted'" >&2
    echo "hint: toolkit build-repo --target $wanted --output models" >&2
    exit 2
fi

# the key is thrown away: shared memory, log settings and traces are nobody's business
closed=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
exec tritonserver \
    --model-repository="$repository" \
    --model-control-mode=explicit --load-model='*' \
    --grpc-address=0.0.0.0 --grpc-port=8001 \
    --http-address=127.0.0.1 --http-port=8000 \
    --metrics-address=0.0.0.0 --metrics-port=8002 \
    --exit-timeout-secs=60 \
    --grpc-restricted-protocol="shared-memory,logging,trace:closed=$closed" \
    "$@"
