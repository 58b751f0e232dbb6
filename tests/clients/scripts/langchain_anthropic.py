"""Chat, a stream, a tool and a prompt that is too long, through langchain-anthropic."""

import os

from langchain_anthropic import ChatAnthropic
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import HumanMessage, ToolMessage

url, chat = os.environ["GATEWAY"], os.environ["CHAT"]
model = ChatAnthropic(model=chat, base_url=url, api_key="unused", temperature=0, max_tokens=64)
question = HumanMessage("What is the capital of France?")
answer = model.invoke([question])
assert "Paris" in answer.content, answer
joined = "".join(str(chunk.text) for chunk in model.stream([question]))
assert joined == answer.content, joined


def weather(city: str) -> str:
    """Tells the weather in a city."""
    return f"It is sunny in {city}."


called = model.bind_tools([weather], tool_choice="any").invoke("How is the weather in Oslo?")
(call,) = called.tool_calls
result = ToolMessage(weather(**call["args"]), tool_call_id=call["id"])
model.bind_tools([weather]).invoke([HumanMessage("How is the weather in Oslo?"), called, result])
try:
    model.invoke("word " * 5000)
except ContextOverflowError:
    pass
else:
    raise AssertionError("a long prompt was not recognised")
