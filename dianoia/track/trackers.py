"""The trackers by name: what they need, where they write, and the command that shows it. Imports none of their packages."""

import importlib.util
import os
import shlex
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.extras import pip_install
from dianoia.track.tracker import Destination, Tracker

DEFAULT_PROJECT = "dianoia"
"""The project or experiment, where neither the recipe nor the environment names one."""


@dataclass(frozen=True, slots=True)
class TrackerKind:
    """A tracker that there is."""

    module: str
    """Has `open_tracker(destination)`; imports the package."""
    packages: tuple[str, ...]
    """Modules that have to be importable; the extra of the same name as the tracker installs them."""
    folder_variable: str | None
    """Environment variable that names another folder for everything the tracker writes."""
    show: Callable[[Path], str]
    """The command that shows what lies in a folder."""
    online: str | None
    """What `online = true` does; None: nothing, as the tracker has only files."""


TRACKERS = {
    "tensorboard": TrackerKind(
        "dianoia.track.to_tensorboard",
        ("tensorboard",),
        "TENSORBOARD_LOGGING_DIR",
        lambda folder: f"tensorboard --logdir {shlex.quote(str(folder))}",
        None,
    ),
    "wandb": TrackerKind(
        "dianoia.track.to_wandb",
        ("wandb",),
        "WANDB_DIR",
        lambda folder: f"wandb sync {shlex.quote(str(folder))}/wandb/offline-run-*",
        "sends to the W&B server that you are logged in to",
    ),
    "trackio": TrackerKind(
        "dianoia.track.to_trackio",
        ("trackio",),
        "TRACKIO_DIR",
        lambda folder: f"TRACKIO_DIR={shlex.quote(str(folder.absolute()))} trackio show",
        None,
    ),
    "mlflow": TrackerKind(
        "dianoia.track.to_mlflow",
        ("mlflow", "sqlalchemy", "alembic"),
        None,
        lambda folder: f"mlflow ui --backend-store-uri sqlite:///{folder.absolute()}/mlflow.db",
        "sends to the server that MLFLOW_TRACKING_URI names",
    ),
}
"""By the name that `[track] to` and `--to` take, which is the name of the extra too."""


def check_trackers(names: Collection[str], online: bool) -> None:
    """Check that trackers exist and that their packages are installed, without importing them.

    Raises:
        ConfigError: one is unknown or lacks its package, or would send while `online` is false.
    """
    for name in names:
        entry = TRACKERS.get(name)
        if entry is None:
            raise ConfigError(
                f"track.to: there is no tracker {name!r}{nearest(name, TRACKERS)}; there are {', '.join(TRACKERS)}"
            )
        missing = [
            # Found, not imported: these packages take seconds, and some write files when they are imported.
            package
            for package in entry.packages
            if importlib.util.find_spec(package) is None
        ]
        if missing:
            raise ConfigError(
                f"track.to: {name!r} needs {' and '.join(missing)}, which this Python does not have, so nothing could be "
                f"tracked; {pip_install(name)}, or leave {name!r} out"
            )
        # Other tools set this variable too, so that alone it is no consent to send.
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if (
            name == "mlflow"
            and not online
            and "://" in uri
            and not uri.startswith(("sqlite:", "file:"))
        ):
            raise ConfigError(
                "track.to: MLFLOW_TRACKING_URI names a server, and nothing leaves this machine unless you say so; set "
                "track.online = true (--online), or unset the variable to write a file in the run directory"
            )


def own_folder(name: str, run: Path) -> Path:
    """Return the folder of a tracker in a run directory."""
    return run / "track" / name


def destination_of(name: str, run: Path, project: str | None, online: bool) -> Destination:
    """Return where a tracker writes: the folder of its environment variable, else its own in the run directory."""
    variable = TRACKERS[name].folder_variable
    named_folder = os.environ.get(variable) if variable else None
    run_folder = own_folder(name, run).absolute()
    folder = Path(named_folder).expanduser().absolute() if named_folder else run_folder
    return Destination(folder, run_folder, project, online)


def show_command(name: str, run: Path, project: str | None, online: bool) -> str:
    """Return the command that shows what a tracker holds of a run, or where it was sent."""
    entry = TRACKERS[name]
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    # The store may be anywhere then, so the folder in the run directory says nothing.
    if name == "mlflow" and uri is not None:
        return f"mlflow ui --backend-store-uri {shlex.quote(uri)}" if "sqlite:" in uri else uri
    if online and entry.online:
        return entry.online
    return entry.show(destination_of(name, run, project, online).folder)


def writes_to(name: str, run: Path, project: str | None, online: bool) -> str:
    """Return what a tracker does with the metrics of a run, for its plan: `writes FOLDER`, or to where it sends them."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if name == "mlflow" and uri is not None:
        return f"{'writes' if uri.startswith(('sqlite:', 'file:')) else 'sends to'} {uri}"
    if online and (sends := TRACKERS[name].online):
        return sends
    folder = destination_of(name, run, project, online).folder
    # Most people type a relative path; a folder that a variable names stays as it is.
    return (
        f"writes {own_folder(name, run) if folder == own_folder(name, run).absolute() else folder}"
    )


def open_tracker(name: str, destination: Destination) -> Tracker:
    """Import a tracker's package and return the tracker."""
    entry = TRACKERS[name]
    # trackio reads the variable when it is imported, and only then.
    with _variable(entry.folder_variable, str(destination.folder)):
        module = import_module(entry.module)
    tracker: Tracker = module.open_tracker(destination)
    return tracker


@contextmanager
def _variable(name: str | None, value: str) -> Iterator[None]:
    """In the block, an environment variable has a value."""
    earlier = os.environ.get(name) if name else None
    if name:
        os.environ[name] = value
    try:
        yield
    finally:
        # Restored, since the run's own process may open another tracker afterwards.
        if name and earlier is None:
            del os.environ[name]
        elif name and earlier is not None:
            os.environ[name] = earlier
