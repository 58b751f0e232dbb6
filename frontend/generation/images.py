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
    """PNG files, from the cache or an upstream. A preview is a part of its image, so it is not
    counted."""
    run.suit(run.need(None, _accepts(image)))
    sizes.check_image(run.model, image)
    if (cached := run.cached) is None:
        return await _draw(run, image)
    slot, result = await cached.images(image, 0 if _is_preview(image) else patches(image))
    if result is None:
        result = await _draw(run, image)
        if slot is not None:
            await cached.keep_images(slot, result)
    elif (capture := run.request.outcome.capture) is not None:
        capture.add_artifacts(result.files, "image/png")
    return result


def _is_preview(image: ImageRequest) -> bool:
    return image.stop_after is not None


def _accepts(image: ImageRequest) -> frozenset[Input]:
    return frozenset({Input.PREVIEWS}) if _is_preview(image) else frozenset()


async def _draw(run: "Run", image: ImageRequest) -> ImageResult:
    is_preview = _is_preview(image)
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
    need = run.need(None, _accepts(image), "generate_content")
    result = await run.call(draw, need, expected, suffix)
    if (capture := run.request.outcome.capture) is not None:
        capture.add_artifacts(result.files, "image/png")
    if not is_preview:
        # once they are there: a failed request costs no images
        run.start(images=len(result.files))
        run.count.add(Usage(result.prompt_tokens, completion_tokens=patches(image)))
    return result
