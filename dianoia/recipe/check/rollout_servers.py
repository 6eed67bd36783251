"""Checks the servers of rollouts of a recipe before any work: that they answer, or that they can be started. No torch.

In: the `rollouts` table of a stage. Out: nothing, or a refusal that names the key. Whether a server was started as it has to be, and has
the weights that it is given, the stage finds out (`sampler.served`).
"""

import ipaddress
import shutil
from urllib.parse import urlsplit

import httpx2

from dianoia.base.errors import ConfigError, EndpointError
from dianoia.config import RolloutSettings
from dianoia.models.endpoint import certificates, sent_key
from dianoia.models.vllm_environment import vllm_program

_SECONDS = 5.0
"""Time that a server has to say that it works."""


def check_rollout_servers(where: str, settings: RolloutSettings, planned: bool) -> None:
    """Check the servers of a table; a plan does not ask them.

    Raises:
        ConfigError: they could not be started, or would not see the weights.
        EndpointError: none of those that should run answers.
    """
    if not settings.served:
        return
    try:
        if settings.key_env is not None:
            sent_key(settings.key_env, "the servers")
        if settings.python is not None:
            vllm_program(settings.python)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None
    if settings.command and shutil.which(settings.command[0]) is None:
        raise ConfigError(
            f"{where}.command: there is no program {settings.command[0]!r} here; give its path, or install it"
        )
    elsewhere = [url for url in settings.servers if not _is_here(url)]
    if elsewhere and settings.weights is None:
        raise ConfigError(
            f"{where}.servers: {elsewhere[0]} is another machine, which sees neither the shared memory nor the disk of this one; "
            "set weights to a folder on storage that both see under the same path (a path that is not there ends a server of "
            "vLLM)"
        )
    if settings.servers and not planned:
        _check_answers(where, settings)


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_answers(where: str, settings: RolloutSettings) -> None:
    reasons = []
    with httpx2.Client(verify=certificates(), timeout=_SECONDS, trust_env=False) as client:
        for url in settings.servers:
            try:
                status = client.get(f"{url.rstrip('/')}/health").status_code
            except httpx2.HTTPError as error:
                reasons.append(f"{url}: {error}")
                continue
            if status == 200:
                return
            reasons.append(f"{url}: status {status}")
    raise EndpointError(
        f"{where}.servers: none of them answers ({'; '.join(reasons)}); start them first, or set {where}.python to an environment "
        "with vLLM, and the stage starts its own"
    )
