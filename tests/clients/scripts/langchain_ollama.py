"""Chat, a stream, a bound tool, a schema and vectors through langchain-ollama."""

import os

from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from pydantic import BaseModel

url, chat, embedding = (os.environ[name] for name in ("GATEWAY", "CHAT", "EMBEDDING"))
model = ChatOllama(model=chat, base_url=url, temperature=0, num_predict=64)
answer = model.invoke("What is the capital of France?")
assert "Paris" in answer.content, answer
assert answer.usage_metadata["output_tokens"] > 0
joined = "".join(chunk.content for chunk in model.stream("What is the capital of France?"))
assert joined == answer.content, joined


@tool
def weather(city: str) -> str:
    """Tells the weather of a city."""
    return city


called = model.bind_tools([weather]).invoke("What is the weather in Rome? Use the tool.")
assert called.response_metadata["done"], called
assert all(isinstance(call["args"], dict) for call in called.tool_calls), called


class City(BaseModel):
    """A city."""

    name: str


city = model.with_structured_output(City, method="json_schema").invoke("Name a city.")
assert isinstance(city, City), city
vectors = OllamaEmbeddings(model=embedding, base_url=url).embed_documents(["a cat", "a kitten"])
assert [len(vector) for vector in vectors] == [384, 384]
