"""What images of requests may take, and where they may come from."""

from ipaddress import ip_network

from pydantic import Field, field_validator

from frontend.settings.group import Group, parts


class MediaSettings(Group):
    """Images that requests bring."""

    max_images: int = Field(default=16, ge=0, description="Images of one chat at most.")
    max_image_bytes: int = Field(
        default=10 * 2**20, ge=1024, description="The largest image file in bytes."
    )
    max_image_pixels: int = Field(
        default=25_000_000, ge=1, description="Pixels of one image at most, width times height."
    )
    max_image_scans: int = Field(
        default=50, ge=1, description="Scans of one progressive JPEG at most."
    )
    max_encoded_image_bytes: int = Field(
        default=8 * 2**20,
        ge=1024,
        description="Bytes of one image as it goes to the model: as PNG, else as JPEG of quality"
        " 95 or 85, else it is refused.",
    )
    max_encoded_images_bytes: int = Field(
        default=32 * 2**20,
        ge=1024,
        description="The same for all images of one request. Four times as much is held for all"
        " requests under way, half of that for one caller; further requests wait.",
    )
    image_processes: int = Field(
        default=2,
        ge=2,
        description="Processes that decode images; one caller has half of them.",
    )
    image_decode_s: float = Field(
        default=10, gt=0, description="Seconds after which decoding one image is ended."
    )
    image_timeout_s: float = Field(
        default=10,
        gt=0,
        description="Seconds that fetching one image may take, redirects included.",
    )
    image_networks: str = Field(
        default="",
        description="Networks that image URLs may point into besides public addresses: "
        "`10.1.0.0/16,fd00::/8`.",
    )

    @field_validator("image_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in parts(value):
            ip_network(part)  # a ValueError is what pydantic wants
        return value

    @property
    def networks(self) -> list[str]:
        """`image_networks`, one by one."""
        return parts(self.image_networks)
