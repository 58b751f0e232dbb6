"""Chat, a stream, a schema and vectors through langchain-openai."""

import os

from langchain_core.exceptions import ContextOverflowError
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

url, chat, embedding = (os.environ[name] for name in ("GATEWAY", "CHAT", "EMBEDDING"))
own = {"base_url": f"{url}/v1", "api_key": "unused"}
model = ChatOpenAI(model=chat, temperature=0, max_completion_tokens=64, **own)
answer = model.invoke("What is the capital of France?")
assert "Paris" in answer.content, answer
assert answer.usage_metadata["output_tokens"] > 0
joined = "".join(chunk.content for chunk in model.stream("What is the capital of France?"))
assert joined == answer.content, joined


class City(BaseModel):
    """A city."""

    name: str


city = model.with_structured_output(City, method="json_schema").invoke("Name a city.")
assert isinstance(city, City), city
embeddings = OpenAIEmbeddings(model=embedding, check_embedding_ctx_length=False, **own)
vectors = embeddings.embed_documents(["a cat", "a kitten"])
assert [len(vector) for vector in vectors] == [384, 384]
for long in (model, ChatOpenAI(model=chat, use_responses_api=True, **own)):
    try:
        long.invoke("word " * 5000)
    except ContextOverflowError:
        continue
    raise AssertionError("a long prompt was not recognised")
