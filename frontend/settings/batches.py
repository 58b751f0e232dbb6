"""How large files may be, and how many requests of batches run."""

from pydantic import Field

from frontend.settings.group import Group


class BatchSettings(Group):
    """Files and batches."""

    max_file_bytes: int = Field(
        default=200 * 2**20, ge=1024, description="The largest file of /v1/files in bytes."
    )
    max_files_bytes: int = Field(
        default=2 * 2**30,
        ge=1024,
        description="Bytes of all files of one caller, answers of batches included. A batch whose"
        " answers exceed it fails with the answers that it has.",
    )
    max_uploads: int = Field(
        default=8, ge=1, description="Files that are received at once; one caller may use half."
    )
    max_batch_requests: int = Field(
        default=50_000, ge=1, description="The maximum number of requests of a batch."
    )
    max_batch_running: int = Field(
        default=8,
        ge=1,
        description="Requests of batches that run at once while no other request runs; beside"
        " others, one.",
    )
