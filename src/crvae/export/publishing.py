"""An exported folder to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from crvae.errors import UserError, brief
from crvae.storage.folders import PREFIX


def push(folder: Path, repository: str) -> str:
    """Uploads `folder` as the model `repository` (owner/name), made where it does not exist, and returns its address.

    The token is the library's own (HF_TOKEN or `hf auth login`). Raises UserError if the hub refuses, or is out of reach.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="crvae")
    try:
        address = api.create_repo(repository, repo_type="model", exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"Upload {folder.name}")
    except Exception as error:  # the library's and the network's, of many classes
        raise UserError(f"--push {repository} failed ({brief(error)}); {folder} is whole: upload that folder") from None
    return str(address)


def opening(folder: Path, repository: str) -> str:
    """The Python that opens the model `repository` (owner/name), to which `folder` was uploaded.

    `crvae.load` needs crvae's weights. ONNX graphs alone are downloaded, and used as the card beside them says.
    """
    if (folder / "model.safetensors").is_file():
        return f"crvae.load({PREFIX + repository!r})"
    place = repository.rpartition("/")[2]
    return (
        f"huggingface_hub.snapshot_download({repository!r}, local_dir={place!r}), then the Python of {place}/README.md"
    )
