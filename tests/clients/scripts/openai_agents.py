"""An agent's loop on the Responses API: a call, its result, an answer; and the same as a stream."""

import asyncio
import os

from agents import (
    Agent,
    ModelSettings,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

url, chat = (os.environ[name] for name in ("GATEWAY", "CHAT"))
set_tracing_disabled(True)
asked = []


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    asked.append(city)
    return "It rains."


async def run() -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused") as client:
        agent = Agent(
            name="forecaster",
            instructions="Answer in one sentence.",
            model=OpenAIResponsesModel(chat, client),
            tools=[weather],
            # the SDK lets the model speak freely once a tool was called
            model_settings=ModelSettings(tool_choice="required", max_tokens=48, temperature=0),
        )
        result = await Runner.run(agent, "How is the weather in Bergen?", max_turns=6)
        assert asked, "no tool was called"
        assert result.final_output, result
        calls = len(asked)
        streamed = Runner.run_streamed(agent, "How is the weather in Oslo?", max_turns=6)
        kinds = {event.type async for event in streamed.stream_events()}
        assert {"raw_response_event", "run_item_stream_event"} <= kinds, kinds
        assert len(asked) > calls
        assert streamed.final_output, streamed


asyncio.run(run())
