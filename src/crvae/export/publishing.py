"""An exported folder to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from crvae.errors import UserError, brief


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
