"""Where a model's files are: what the user points to, else the Hugging Face hub and its cache."""

from __future__ import annotations

import logging
from pathlib import Path

from forensics.errors import WeightsError
from forensics.generate.rudalle.config import RUCLIP, HubFile

__all__ = ["locate", "locate_ruclip"]


def locate(
    file: HubFile,
    *,
    local: Path | None = None,
    token: str | None = None,
    cache: Path | None = None,
    offline: bool = False,
) -> Path:
    """Return the path of one published file on this machine, fetching it where that is allowed and needed.

    Parameters
    ----------
    file : HubFile
        Which file.
    local : Path, optional
        The file, or a folder that holds it under its published name; the hub is then not asked.
    token : str, optional
        For repositories that need one; by default the one of ``huggingface-cli login`` or ``$HF_TOKEN``.
    cache : Path, optional
        The hub's cache folder; by default its own.
    offline : bool
        Never open a connection; ``$HF_HUB_OFFLINE`` says the same.

    Raises
    ------
    WeightsError
        Saying where the file was looked for and how to bring it by hand.
    """
    if local is not None:
        path = local / file.filename if local.is_dir() else local
        if not path.is_file():
            raise WeightsError(f"{path} is missing; fetch it from https://huggingface.co/{file.repo} and put it there")
        return path
    from huggingface_hub import constants

    folder = cache or Path(constants.HF_HUB_CACHE)
    reason = ""
    # what is here already needs no connection, under whichever of its addresses
    for lookup in (True,) if offline else (True, False):
        for repo in (file.repo, *file.others):
            try:
                return _from_hub(repo, file.filename, token=token, cache=folder, lookup=lookup)
            except WeightsError as error:
                reason = str(error)
    raise WeightsError(
        f"{file.filename} is not in {folder} and was not fetched from https://huggingface.co/{file.repo} "
        f"({'no connection allowed' if offline else reason}); fetch it on another machine, put it into a folder "
        "and give that folder"
    )


def _from_hub(repo: str, filename: str, *, token: str | None, cache: Path, lookup: bool) -> Path:
    from huggingface_hub import hf_hub_download

    # it warns of every one of its retries; what came of them is said once, by our own error
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return Path(hf_hub_download(repo, filename, token=token, cache_dir=cache, local_files_only=lookup))
    except Exception as error:  # the hub client raises its own, the network's and the system's errors
        raise WeightsError((str(error).strip() or type(error).__name__).splitlines()[0]) from error


def locate_ruclip(
    name: str | Path, *, token: str | None = None, cache: Path | None = None, offline: bool = False
) -> Path:
    """Return the folder of a ruCLIP model, a published name or a local folder."""
    names = ("config.json", "bpe.model", "pytorch_model.bin")
    if str(name) in RUCLIP:
        repo = RUCLIP[str(name)]
        found = [locate(HubFile(repo=repo, filename=part), token=token, cache=cache, offline=offline) for part in names]
        return found[0].parent
    folder = Path(name)
    if missing := [part for part in names if not (folder / part).is_file()]:
        raise WeightsError(
            f"ruCLIP model {str(name)!r} given, a folder with {', '.join(names)} (missing: {missing[0]}) "
            f"or one of {', '.join(RUCLIP)} accepted"
        )
    return folder
