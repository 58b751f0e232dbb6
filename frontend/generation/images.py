"""The images that a run generates."""

from dataclasses import replace
from typing import TYPE_CHECKING

from frontend.domain.images import ImageRequest, ImageResult, patches
from frontend.domain.models import Input
from frontend.domain.usage import Usage
from frontend.generation import sizes
from frontend.generation.charge import expected_texts
from frontend.generation.cover import most_text_tokens
from frontend.upstreams.placement import Place

if TYPE_CHECKING:
    from frontend.generation.run import Run


async def draw(run: "Run", image: ImageRequest) -> ImageResult:
    """PNG files. A preview is a part of its image, so it is not counted."""
    is_preview = image.stop_after is not None
    accepts = frozenset({Input.PREVIEWS}) if is_preview else frozenset[Input]()
    run.suit(run.need(None, accepts))
    sizes.check_image(run.model, image)
    number = next(run.attempts)
    if run.cover is not None and run.cover.is_needed and not is_preview:
        texts = [image.prompt, image.negative_prompt or ""]
        prompt = most_text_tokens(texts, None) * image.count
        await run.cover.tokens(prompt + patches(image))

    async def draw(place: Place) -> ImageResult:
        run.start()
        result = await place.upstream.draw(place.model, image, place.call)
        place.step.used(Usage(result.prompt_tokens))
        return result

    suffix = f"-{number}" if number else ""
    expected = replace(expected_texts([image.prompt]), output=patches(image))
    need = run.need(None, accepts, "generate_content")
    result = await run.call(draw, need, expected, suffix)
    if (capture := run.request.outcome.capture) is not None:
        capture.add_artifacts(result.files, "image/png")
    if not is_preview:
        # once they are there: a failed request costs no images
        run.start(images=len(result.files))
        run.count.add(Usage(result.prompt_tokens, completion_tokens=patches(image)))
    return result
