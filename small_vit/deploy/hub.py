"""Hubs: publish a trained model, and load one from there.

A model lies on a hub as Keras's own `model.save("hf://OWNER/NAME")` lays it, which is a .keras file
unpacked, with small_vit.json, classes.json and README.md beside it.
"""

import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

from small_vit.errors import InputError

SCHEME = "hf://"
WEIGHTS = "model.weights.h5"
KERAS_FILES = ("config.json", "metadata.json", WEIGHTS)
"""What Keras writes and reads."""
MEMBERS = (*KERAS_FILES, "small_vit.json")
"""The members of a run's model.keras."""
NAMES = "classes.json"


def load(path):
    """Load a trained model and its class names, from a hub or from this machine.

    Nothing that comes with the model is executed: Keras's `safe_mode` stays on, and of a hub's
    files only those of the model are fetched.

    Args:
        path: "hf://OWNER/NAME", a run directory, a `.keras` file, or a folder with the files of a
            hub.

    Returns:
        `(keras.Model, list of str)`, as `small_vit.results.saved_model.load_model`.

    Raises:
        InputError: if there is no such model, or the hub cannot be reached.
    """
    from small_vit.results.saved_model import load_model  # Needs more than Keras and NumPy.

    if str(path).startswith(SCHEME):
        return _load_unpacked(_download(str(path).removeprefix(SCHEME)), path)
    if (Path(path) / WEIGHTS).exists():
        return _load_unpacked(Path(path), path)
    return load_model(path)


def _download(name):
    huggingface_hub = _client()
    with _one_message(name):
        _check_name(name)
        allowed = [*MEMBERS, NAMES]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=allowed))


def _load_unpacked(folder, named):
    """Load the model in a folder with the files of a hub; messages call it `named`."""
    from small_vit.results.saved_model import load_model

    missing = [name for name in KERAS_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{named} holds no Keras model: {', '.join(missing)} is missing. Name one that "
            "small-vit push or Keras has written."
        )
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.keras"
        with zipfile.ZipFile(file, "w") as archive:
            for name in MEMBERS:
                if (folder / name).is_file():
                    archive.write(folder / name, name)
        if (folder / NAMES).is_file():
            shutil.copyfile(folder / NAMES, file.with_name(NAMES))
        try:
            return load_model(file)
        except InputError as error:
            raise InputError(str(error).replace(str(file), str(named))) from error


def push(path, name, private=False, replace=False, license="unknown", samples=0):
    """Publish the model of a finished run, with a model card.

    Args:
        path: Run directory.
        name: "OWNER/NAME".
        private: Whether only its owner can see a new repository.
        replace: Whether the repository may exist; its files of the same names are replaced.
        license, samples: As for `small_vit.deploy.card.write_card`.

    Returns:
        The address of the repository.

    Raises:
        InputError: if there is no finished run, or the hub refuses or cannot be reached.
    """
    huggingface_hub = _client()
    with _one_message(name):
        _check_name(name)
    if huggingface_hub.get_token() is None:
        raise InputError(
            "There is no token to publish with. Make one that may write in the settings of your "
            "account on the hub, then run `hf auth login` or set HF_TOKEN."
        )
    api = huggingface_hub.HfApi(library_name="small_vit")
    with tempfile.TemporaryDirectory() as temporary:
        write_files(path, Path(temporary), name, license, samples)
        with _one_message(name):
            # None: as the owner's settings say.
            repository = api.create_repo(name, private=private or None, exist_ok=replace)
            api.upload_folder(
                repo_id=name, folder_path=temporary, commit_message="Model, class names and card"
            )
    return str(repository)


def write_files(path, folder, name, license="unknown", samples=0):
    """Write the files of a finished run's model as they lie on a hub.

    Args:
        path: Run directory.
        folder: Where to.
        name, license, samples: As for `small_vit.deploy.card.write_card`.

    Raises:
        InputError: if there is no finished run, or the disk refuses.
    """
    from small_vit.deploy.card import write_card
    from small_vit.files import write_json
    from small_vit.results.run_directory import RunDirectory

    write_card(path, folder / "README.md", name, license, samples)
    run = RunDirectory(path)
    with zipfile.ZipFile(run / "model.keras") as archive:
        archive.extractall(folder, [each for each in archive.namelist() if each in MEMBERS])
    write_json(folder / NAMES, run.class_names())


def _client():
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise InputError(
            "Hubs need huggingface_hub, which is not installed. Install it with "
            "pip install -e '.[hub]'."
        ) from error
    return huggingface_hub


def _check_name(name):
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(name)
    if name.count("/") != 1:
        raise InputError(f"A model on a hub is named OWNER/NAME. Received: {name!r}.")


@contextmanager
def _one_message(name):
    """Turn the client's errors into one message each."""
    from httpx2 import HTTPError
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.HFValidationError as error:
        raise InputError(f"A model on a hub is named OWNER/NAME: {error}") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{constants.ENDPOINT} has no {name} that you may see. Check the name; if it is "
            "private, run `hf auth login` or set HF_TOKEN."
        ) from error
    except errors.HfHubHTTPError as error:
        raise InputError(_refused(name, error)) from error
    except (HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):  # Nothing is in the cache either.
            raise InputError(_refused(name, error.__cause__)) from error
        raise InputError(
            f"{constants.ENDPOINT} cannot be reached, and {name} is not in the client's cache: "
            "check the network and HF_HUB_OFFLINE, and try again."
        ) from error


def _refused(name, error):
    reasons = {
        401: "Your token is not valid. Run `hf auth login`, or set HF_TOKEN to one that is.",
        403: f"Your token has no right to {name}. To publish, take a name below your own account "
        "and a token that may write.",
        409: f"{name} exists already. Choose another name, or pass --replace.",
    }
    status = error.response.status_code
    return reasons.get(status) or f"The hub refused {name} with status {status}: {error}"
