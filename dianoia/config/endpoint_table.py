"""The table of a model behind an OpenAI-compatible endpoint."""

import re
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from dianoia.config.settings import Settings


class EndpointSettings(Settings):
    """A model that answers chat completions: vLLM's or SGLang's server, or a provider's."""

    url: str
    """Where the OpenAI-compatible API begins, e.g. `http://localhost:8000/v1`; `/chat/completions` is appended."""
    model: str = Field(min_length=1)
    """As the endpoint calls it."""
    # A name that a shell accepts, so that a key pasted here by mistake is mostly refused (`sk-...` has a hyphen).
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key; the key itself is never written anywhere."""
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Temperature of its replies. At 0 a repeated judgement mostly repeats its verdict."""
    max_tokens: int = Field(default=4096, ge=1)
    """Limit on the tokens of a reply; a reply that is cut there is not used."""
    concurrency: int = Field(default=8, ge=1)
    """Requests under way at the same time."""
    retries: int = Field(default=5, ge=0)
    """Further attempts after a timeout, a broken connection, 408, 409, 425, 429 or 5xx; waits double from half a
    second, unless the endpoint says how long."""
    # TOML has `inf`; without an end a dead endpoint would hold a run for ever.
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Seconds of silence after which a request is repeated; a whole exchange may take five times as long."""
    budget_requests: int | None = Field(default=None, ge=1)
    """Requests that one `dianoia run` may send, repeated ones counted."""
    budget_tokens: int | None = Field(default=None, ge=1)
    """Tokens, read and written, that one `dianoia run` may use."""

    @model_validator(mode="after")
    def _url_is_valid(self) -> Self:
        shown = re.sub(r"//.*@|^[^/]*@", "//***@", self.url)  # the text before an @ may be a key
        try:  # urlsplit and its properties raise for a bad port or host
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"url = {shown!r} is no address of an API ({error})") from None
        # urlsplit accepts spaces and control characters, which no server would.
        plain = self.url.isascii() and self.url.isprintable() and " " not in self.url
        if parts.scheme not in ("http", "https") or not host or not plain:
            raise ValueError(
                f"url = {shown!r} is no address of an API; write http:// or https://, the host and "
                "the path, e.g. http://localhost:8000/v1"
            )
        # recipe.json keeps the URL, and a key in it would be published with the run.
        if parts.username or parts.password or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(
                "url holds a user, a password or a query, which would be written to recipe.json; put the "
                "key into an environment variable and name that in key_env"
            )
        return self


def endpoint_or_name(value: Any) -> str:
    """Return the pydantic tag of an endpoint's table or of a name, for keys that take either."""
    return "@table" if isinstance(value, dict | EndpointSettings) else "@name"
