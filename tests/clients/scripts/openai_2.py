"""The SDK's former major version, which LiteLLM and LlamaIndex pin."""

import os

from openai import OpenAI

url, chat, embedding = (os.environ[name] for name in ("GATEWAY", "CHAT", "EMBEDDING"))
client = OpenAI(base_url=f"{url}/v1", api_key="unused")
asked = {"model": chat, "temperature": 0, "max_tokens": 64}
question = [{"role": "user", "content": "What is the capital of France?"}]
answer = client.chat.completions.create(messages=question, **asked)
assert "Paris" in answer.choices[0].message.content
chunks = client.chat.completions.create(messages=question, stream=True, **asked)
joined = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert joined == answer.choices[0].message.content
assert len(client.embeddings.create(model=embedding, input="a cat").data[0].embedding) == 384
assert chat in {model.id for model in client.models.list()}
