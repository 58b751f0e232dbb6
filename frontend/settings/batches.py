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
        description="Maximum size in bytes of all files of one caller, including the answers of"
        " batches. A batch that exceeds it fails; the answers until then are kept.",
    )
    max_uploads: int = Field(
        default=8,
        ge=1,
        description="Maximum number of files that are received at the same time; one caller may"
        " use half of it.",
    )
    max_batch_requests: int = Field(
        default=50_000, ge=1, description="Maximum number of requests in a batch."
    )
    max_batch_running: int = Field(
        default=8,
        ge=1,
        description="Maximum number of batch requests that run at the same time while no other"
        " request runs; while others run, one.",
    )
