"""How the embedded Triton server is started: its arguments and its environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.runtime.environments import MODEL_LOGS
from toolkit.runtime.triton import TritonRuntime
from toolkit.serve.child import Command, clean_environment
from toolkit.serve.loading import STALL_S
from toolkit.serve.models import server_options

_EXIT_TIMEOUT_S = 30
_LOAD_THREADS = 16
"""Triton's default is 4: an engine, the slowest, would wait for tokenizers."""
# every user can read a process's arguments, so the key of these is one that cannot be in an HTTP
# header: two line ends close the head of a request
_CLOSED_HTTP = "model-repository,shared-memory,model-config,logging,trace:closed=no\n\nkey"


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How to run the server. `http_port` opens Triton's own HTTP API on loopback, for debugging,
    and `metrics_port` its metrics, for Prometheus; `traces_url` gets the spans of its steps;
    `placement` are the GPUs of each step, None on the CPU. `model_logs` is the folder of the logs
    of models; without it their output is in `log`. `stall_s` is how long nothing may work during a
    load."""

    repository: Path
    log: Path
    http_port: int | None = None
    load_timeout_s: float = 600.0
    placement: Mapping[str, Mapping[str, object]] | None = None
    model_logs: Path | None = None
    metrics_port: int | None = None
    traces_url: str = ""
    stall_s: float = STALL_S

    @property
    def environment(self) -> dict[str, str]:
        """Variables that tell each step its log and its GPUs; indices are those of nvidia-smi."""
        logs = {} if self.model_logs is None else {MODEL_LOGS: str(self.model_logs)}
        if self.placement is None:
            return logs
        placed = {"TRITON_TOOLKIT_PLACEMENT": json.dumps(self.placement)}
        return logs | placed | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def triton_command(
    runtime: TritonRuntime, options: TritonOptions, folder: Path, prefix: str
) -> Command:
    """The command that starts the server. `folder`: where its socket is and its temporary files;
    `prefix`: of the names of its shared memory."""
    argv = [
        str(runtime.server),
        f"--model-repository={options.repository}",
        f"--backend-directory={runtime.backends}",
        f"--cache-directory={runtime.caches}",
        # the prefix tells this service's segments in /dev/shm from others
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--model-control-mode=explicit",
        *_metrics(options.metrics_port),
        *_traces(options.traces_url),
        # more than a drain and 10 s: vLLM needs 5 to 6 s to end its core
        f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
        f"--model-load-thread-count={_LOAD_THREADS}",
        *server_options(options.repository),
    ]
    argv += [f"--grpc-address=unix://{folder}/grpc.sock", "--grpc-port=1"]
    if options.http_port is None:
        argv += ["--allow-http=false"]
    else:
        argv += ["--http-address=127.0.0.1", f"--http-port={options.http_port}"]
        argv += [f"--http-restricted-api={_CLOSED_HTTP}"]
    environment = clean_environment(
        LD_LIBRARY_PATH=str(runtime.libraries),
        TRITON_TOOLKIT_TARGET="embedded",
        HF_HUB_OFFLINE="1",
        VLLM_NO_USAGE_STATS="1",
        TMPDIR=str(folder / "tmp"),  # engines put sockets there
        # a model whose folder changed is loaded again with the next ensemble that shares it
        PYTHONDONTWRITEBYTECODE="1",
        # weights and caches in huge pages, if the kernel gives them on request: on 2
        # cores embeddings and tokens/s gained 3 %, images 7 %, and no process grew
        GLIBC_TUNABLES="glibc.malloc.hugetlb=1",
        **options.environment,
    )
    return Command(
        argv=argv,
        log=options.log,
        environment=environment,
        folder=folder / "empty",
        grace_s=_EXIT_TIMEOUT_S + 5,
        shm_prefix=prefix,
        scratch=str(folder),
    )


def _metrics(port: int | None) -> list[str]:
    # every user of the machine can read that port, so it opens only on request
    if port is None:
        return ["--allow-metrics=false"]
    return ["--metrics-address=127.0.0.1", f"--metrics-port={port}", "--allow-metrics=true"]


def _traces(url: str) -> list[str]:
    if not url:
        return []
    # it joins the trace of the `traceparent` that the gateway sends with each call
    settings = ("mode=opentelemetry", "rate=1", "level=TIMESTAMPS", f"opentelemetry,url={url}")
    given = (*settings, "opentelemetry,resource=service.name=triton")
    return [f"--trace-config={one}" for one in given]
