"""The limits of images in requests, and the networks that they may come from."""

from pydantic import Field, field_validator

from frontend.settings.checks import check_networks
from frontend.settings.group import Group, parts


class MediaSettings(Group):
    """Images that requests bring."""

    max_images: int = Field(default=16, ge=0, description="Maximum number of images in a chat.")
    max_image_bytes: int = Field(
        default=10 * 2**20, ge=1024, description="Maximum size of an image file in bytes."
    )
    max_image_pixels: int = Field(
        default=25_000_000,
        ge=1,
        description="Maximum number of pixels (width times height) of an image.",
    )
    max_image_scans: int = Field(
        default=50, ge=1, description="Maximum number of scans of a progressive JPEG."
    )
    max_encoded_image_bytes: int = Field(
        default=8 * 2**20,
        ge=1024,
        description="Maximum size in bytes of an image as it is sent to the model: PNG, or JPEG of"
        " quality 95 or 85 if that is too large. Larger images are refused.",
    )
    max_encoded_images_bytes: int = Field(
        default=32 * 2**20,
        ge=1024,
        description="Maximum size in bytes of all images of a request as they are sent to the"
        " model."
        " All running requests may use four times as much, and one caller half of that; further"
        " requests wait.",
    )
    image_processes: int = Field(
        default=2,
        ge=2,
        description="Number of processes that decode images. One caller may use half of them.",
    )
    image_decode_s: float = Field(
        default=10, gt=0, description="Timeout for decoding an image in seconds."
    )
    image_timeout_s: float = Field(
        default=10,
        gt=0,
        description="Timeout for fetching an image in seconds, including redirects.",
    )
    image_networks: str = Field(
        default="",
        description="Networks, besides public addresses, that images may be fetched from: "
        "`10.1.0.0/16,fd00::/8`.",
    )

    @field_validator("image_networks")
    @classmethod
    def _are_image_networks(cls, value: str) -> str:
        return check_networks(value)

    @property
    def networks(self) -> list[str]:
        """`image_networks`, one by one."""
        return parts(self.image_networks)
