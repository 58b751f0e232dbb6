#!/usr/bin/env bash
# Checks that /models was built for this Triton, then serves it. Arguments go to tritonserver.
set -euo pipefail

repository=${TRITON_TOOLKIT_REPOSITORY:-/models}
wanted=$TRITON_TOOLKIT_TARGET
if [ ! -e "$repository/repository.json" ] && ! compgen -G "$repository/*/config.pbtxt" > /dev/null; then
    echo "error: $repository contains no models" >&2
    echo "hint: build them and mount them: toolkit build-repo --target $wanted --output models," \
        "then docker run -v \$PWD/models:/models:ro …" >&2
    exit 2
fi
built=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["target"])' \
    "$repository/repository.json" 2>/dev/null || echo "$wanted") # hand-written ones have no target
if [ "$built" != "$wanted" ]; then
    echo "error: $repository was built for the target '$built', this image is '$wanted'" >&2
    echo "hint: toolkit build-repo --target $wanted --output models" >&2
    exit 2
fi

umask 077
# A client that can load a model can run code, because a load can contain a config and files. So only
# clients with the key may load: it is in a file that is mounted into this container and the gateway's.
key_file=${TRITON_TOOLKIT_CONTROL_KEY_FILE:-}
if [ -z "$key_file" ]; then
    control=(--model-control-mode=none)
else
    key=$(< "$key_file")
    if [[ ! $key =~ ^[a-z][a-z0-9-]*=[A-Za-z0-9._~+/-]{16,}$ ]]; then
        echo "error: $key_file does not hold NAME=VALUE with at least 16 characters of VALUE" >&2
        echo "hint: (umask 077; echo control=\$(openssl rand -hex 32) > control.key)" >&2
        exit 2
    fi
    control=(--model-control-mode=explicit --load-model='*')
    control+=(--grpc-restricted-protocol="model-repository:$key")
fi
# no client may use shared memory, log settings or traces: a client cannot send a key with line breaks
closed=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')$'\n\n'
exec tritonserver \
    --model-repository="$repository" \
    "${control[@]}" \
    --grpc-address=0.0.0.0 --grpc-port=8001 \
    --http-address=127.0.0.1 --http-port=8000 \
    --metrics-address=0.0.0.0 --metrics-port=8002 \
    --exit-timeout-secs=60 \
    --grpc-restricted-protocol="shared-memory,logging,trace:closed=${closed}x" \
    --http-restricted-api="model-repository,shared-memory,model-config,logging,trace:closed=${closed}x" \
    "$@"
